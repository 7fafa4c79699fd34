"""kind's scripts: their checks, and what they say where something is missing. Making a cluster needs downloads."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from manifest_checks import K8S, OUTSIDE, ROOT, tool

SCRIPTS = sorted((K8S / "kind").glob("*.sh"))


def test_kind_s_scripts_pass_shellcheck() -> None:
    check = [tool("shellcheck"), "--external-sources", *SCRIPTS]
    done = subprocess.run(check, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_kind_s_scripts_create_every_secret_that_the_manifests_refer_to() -> None:
    settings = (K8S / "kind/settings.sh").read_text()
    assert set(re.findall(r"^(?:SECRET|IDENTITIES)=(.+)$", settings, re.M)) == OUTSIDE


@pytest.fixture
def bare_path(tmp_path: Path) -> str:
    """Return a PATH with the few programs that every machine has, and no docker, kind, kubectl or git."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("awk", "bash", "cat", "df", "dirname", "env", "grep", "head", "make", "rm", "sort", "uname"):
        (folder / name).symlink_to(shutil.which(name))
    return str(folder)


def script(name: str, path: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": path, **settings}
    return subprocess.run([K8S / "kind" / name], env=environment, capture_output=True, text=True)


def test_kind_up_names_all_that_is_missing_at_once_and_changes_nothing(bare_path: str) -> None:
    done = script("up.sh", bare_path)
    assert done.returncode == 1
    missing = re.findall(r"^missing  (\w+)", done.stdout, re.M)
    assert {"docker", "kind", "kubectl", "git"} <= set(missing)
    assert len(re.findall("remedy: ", done.stdout)) == len(missing)
    assert "nothing was changed" in done.stderr
    assert "==>" not in done.stdout


def test_kind_up_refuses_a_docker_whose_daemon_does_not_answer(bare_path: str, tmp_path: Path) -> None:
    docker = shutil.which("docker")
    if docker is None:
        pytest.skip("docker is not installed here")
    (Path(bare_path) / "docker").symlink_to(docker)
    done = script("check.sh", bare_path, DOCKER_HOST=f"unix://{tmp_path}/no.sock")
    assert "missing  docker: its daemon does not answer" in done.stdout
    assert done.returncode == 1


def test_kind_down_and_kind_run_say_that_there_is_no_kind(bare_path: str) -> None:
    for name in ("down.sh", "run.sh"):
        done = script(name, bare_path)
        assert done.returncode == 1
        assert re.fullmatch(r"error: .*kind.*\n", done.stderr)


def test_the_options_that_kind_run_gives_to_submit_are_ones_it_has() -> None:
    import typer

    from realfeatures.cli import main as cli

    call = re.search(r'realfeatures" submit (.*?)"\$@"', (K8S / "kind/run.sh").read_text(), re.DOTALL)
    assert call
    given = set(re.findall(r"--[a-z-]+", call[1])) - {"--no-print-directory"}  # make's own
    submit = typer.main.get_command(cli.app).get_command(None, "submit")
    known = {name for parameter in submit.params for name in parameter.opts}
    assert {"--preset", "--wait", "--image"} <= given <= known

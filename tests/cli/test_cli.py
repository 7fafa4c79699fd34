import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from realfeatures import __version__
from realfeatures.cli import main as cli
from realfeatures.errors import ConfigError
from realfeatures.experiment.presets import load_preset
from realfeatures.running.fit import check_fit
from realfeatures.running.plan import make_plan
from realfeatures.science.data.decoded import Sizes

"""What the command line promises of --help; measured in processor time, which other processes do not lengthen."""

TINY = [
    "paradigms=supervised",
    "features=natural",
    "experiments=E1,E2",
    "data.train_size=100",
    "data.test_size=50",
    "supervised.optimizer.epochs=1",
    "supervised.optimizer.batch_size=50",
    "probe.epochs=1",
    "attack.images=10",
    "attack.pgd_steps=1",
    "attack.autoattack=[]",
    "attack.autoattack_images=10",
]
"""Five cells of the digits preset, a second of work."""


@pytest.fixture
def call(monkeypatch, capsys):
    """Call the command line in this process; returns exit code, standard output and standard error."""

    def main(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["realfeatures", *arguments])
        code = cli.main()
        out, err = capsys.readouterr()
        return code, out, err

    return main


def settings(assignments: list[str]) -> list[str]:
    return [word for assignment in assignments for word in ("--set", assignment)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The folder of a tiny run, through the installed command."""
    out = tmp_path_factory.mktemp("cli") / "run"
    done = subprocess.run(
        [sys.executable, "-m", "realfeatures.cli.main", "run", "--out", str(out), "--jobs", "1", *settings(TINY)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "supervised" in done.stdout  # the tables
    assert done.stdout.rstrip().endswith(f"report: {out / 'report.html'}")
    assert done.stderr == ""
    return out


REFUSED = [
    (["run", "--preset", "digit"], "preset 'digit' is unknown; expected one of: digits, cifar10-small"),
    (["run", "--set", "data=mnits"], "data.source='mnits' is unknown; expected one of digits"),
    (["run", "--set", "data=folder:/no/such/place"], "/no/such/place"),
    (["run", "--set", "probe.epoch=5"], "probe.epoch: unknown key 'epoch'; probe has: epochs"),
    (["run", "--set", "probe.epochs"], "expected KEY=VALUE"),
    (["run", "--set", "probe.epochs=many"], "probe.epochs: Input should be a valid integer"),
    (["run", "--set", "paradigms=supervized"], "supervized"),
    (["run", "--set", "d_rand.epsilon=-1"], "d_rand.epsilon: Input should be greater than or equal to 0"),
    (["run", "--set", "attack.images=501"], "attack.images is 501 and there are 500 test images"),
    (["run", "--set", "attack.autoattack_images=900"], "attack.autoattack_images is 900"),
    (["run", "--set", "transfer.images=900"], "transfer.images is 900 and there are 500 test images"),
    (["run", "--set", "loss_curves.images=900"], "loss_curves.images is 900"),
    (["run", "--set", "masked.patch_size=3"], "masked.patch_size 3 does not divide the images' 8x8 pixels"),
    (["run", "--set", "masked.patch_size=8"], "masked.patch_size 8 is a whole side"),
    (["run", "--set", "diffusion.multipliers=[1,1,1,1,1]"], "sides are multiples of 16, these have 8x8"),
    (["run", "--set", "diffusion.feature_pool=8"], "diffusion.feature_pool 8 does not divide the 4 pixels"),
    (["run", "--set", "supervised.model.blocks=[1,1,1,1,1]"], "need images of at least 16 pixels a side"),
    (["run", "--set", "data.train_size=5"], "data.train_size=5"),
    (["run", "--seed", "-1"], "--seed -1: expected a whole number of at least 0"),
    (["run", "--seed", "3", "--seed", "3"], "--seed 3: is named twice"),
    (["run", "--seed", "zero"], "--seed 'zero': expected a whole number of at least 0"),
    (["run", "--jobs", "0"], "--jobs 0: expected a whole number of at least 1"),
    (["run", "--jobs", "all"], "--jobs 'all': expected a whole number of at least 1"),
    (["run", "--speed", "9"], "--speed"),
    (["walk"], "walk"),
    (["plan", "--preset", "nonsense"], "preset 'nonsense' is unknown"),
    (["show", "--out", "nowhere"], "nowhere: holds no experiment"),
    (["compile", "-o", "paper.yaml"], "--image"),
    (["compile", "--image", "i", "-o", "paper.yaml", "--seed", "-3"], "--seed -3"),
]


@pytest.mark.parametrize(("arguments", "expected"), REFUSED, ids=[shlex.join(case[0]) for case in REFUSED])
def test_bad_input_is_one_line_and_nothing_is_written(call, monkeypatch, tmp_path, arguments, expected):
    monkeypatch.chdir(tmp_path)
    code, out, err = call(*arguments)
    assert code == 2
    assert err.startswith("error: ")
    assert expected in err
    assert err.count("\n") == 1
    assert out == ""
    assert list(tmp_path.iterdir()) == []


def test_the_installed_command_exits_with_the_code(tmp_path):
    refused = subprocess.run(
        [sys.executable, "-m", "realfeatures.cli.main", "run", "--jobs", "0"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert refused.returncode == 2
    assert refused.stderr == "error: --jobs 0: expected a whole number of at least 1\n"


def test_help_has_examples_and_imports_nothing_slow():
    slow = {"torch", "pydantic", "numpy", "matplotlib", "kfp", "yaml"}
    program = (
        f"import sys; from realfeatures.cli.main import main; main();sys.exit(','.join({slow} & set(sys.modules)) or 0)"
    )
    shown = subprocess.run([sys.executable, "-c", program, "--help"], capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    assert "realfeatures run --preset digits --out runs/demo --seed 0 --seed 1 --jobs 2" in shown.stdout


@pytest.mark.parametrize("command", ["run", "plan", "show", "data", "compile"])
def test_every_command_has_an_example(call, command):
    code, out, _ = call(command, "--help")
    assert code == 0
    assert f"realfeatures {command}" in out.partition("Examples")[2]


def test_the_version_is_shown(call):
    assert call("--version") == (0, f"realfeatures {__version__}\n", "")


@pytest.mark.parametrize("arguments", [["plan", "--preset", "paper"], ["data"], ["plan"]], ids=shlex.join)
def test_planning_imports_no_torch_and_writes_nothing(arguments, tmp_path):
    program = (
        "import sys; from realfeatures.cli.main import main; code = main(); sys.exit('torch' in sys.modules or code)"
    )
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_compile_writes_the_pipeline_without_torch(tmp_path):
    program = (
        "import sys; from realfeatures.cli.main import main; code = main(); sys.exit('torch' in sys.modules or code)"
    )
    arguments = ["compile", "--image", "example/realfeatures:1", "-o", "paper.yaml", *settings(TINY)]
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said = r"paper\.yaml: 14 tasks, each one cell: \d+ KiB of spec and \d+ KiB of state, of 1024 KiB\n"
    assert re.fullmatch(said, done.stdout)
    assert "example/realfeatures:1" in (tmp_path / "paper.yaml").read_text()


@pytest.mark.parametrize(
    ("package", "extra", "command"),
    [
        ("kfp", "kubeflow", "compile --image i -o paper.yaml"),
        ("kubernetes", "kubeflow", "doctor --only nodes"),
        ("minio", "s3", "store ls --store s3://bucket"),
    ],
)
def test_a_missing_extra_is_named_in_one_line(package, extra, command, tmp_path):
    words = ["realfeatures", *command.split()]
    code = f"import sys; sys.modules[{package!r}] = None; sys.argv = {words}\n"
    code += "from realfeatures.cli.main import main; sys.exit(main())"
    keys = {"AWS_ACCESS_KEY_ID": "some", "AWS_SECRET_ACCESS_KEY": "other"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, **keys},
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {package}"), done.stderr
    assert done.stderr.endswith(f"install realfeatures[{extra}]\n")
    assert done.stderr.count("\n") == 1


def test_a_plan_lists_every_cell_and_its_work(call, tmp_path):
    code, out, _ = call("plan", "--preset", "paper", "--seed", "0", "--seed", "1", "--out", str(tmp_path))
    assert code == 0
    made = make_plan(load_preset("paper"), seeds=[0, 1])
    for key, address in made.addresses.items():
        assert f"{key} " in out
        assert address[:12] in out
    assert f"to do  {len(made.grid)} cells" in out


def test_a_plan_tells_what_is_done(call, finished):
    code, out, _ = call("plan", "--out", str(finished), *settings(TINY))
    assert code == 0
    assert "to do  0 cells" in out
    code, out, _ = call("plan", "--out", str(finished), "--seed", "0", "--seed", "1", *settings(TINY))
    assert "to do  10 cells" in out


def test_show_lists_the_keys_of_a_run(call, finished):
    code, out, _ = call("show", "--out", str(finished))
    assert code == 0
    for key in ("data", "seed0/natural/supervised/encoder", "seed0/controls/pixels/attack/natural"):
        assert f"{key} " in out


def test_show_tells_all_of_a_cell_by_key_and_by_address(call, finished):
    key = "seed0/natural/supervised/attack/natural"
    address = make_plan(load_preset("digits", TINY), seeds=[0]).addresses[key]
    code, out, _ = call("show", key, "--out", str(finished))
    assert code == 0
    for part in (address, "input encoder", "seconds", "pgd_steps: 1", "clean_accuracy", "low", "high", str(finished)):
        assert part in out
    assert call("show", address[:8], "--out", str(finished))[1] == out


def test_show_refuses_what_names_no_cell_or_many(call, finished):
    code, _, err = call("show", "seed7/nothing", "--out", str(finished))
    assert code == 2
    assert "'seed7/nothing' names no cell" in err
    code, _, err = call("show", "", "--out", str(finished))
    assert code == 2
    assert "cells; expected a key" in err


def test_the_command_that_show_gives_plans_the_same_cell(call, finished):
    _, out, _ = call("show", "seed0/natural/supervised/encoder", "--out", str(finished))
    given = shlex.split(out.partition("reproduce with")[2])
    assert given[:2] == ["realfeatures", "run"]
    code, planned, _ = call("plan", *given[2:])
    assert code == 0
    address = make_plan(load_preset("digits", TINY), seeds=[0]).addresses["seed0/natural/supervised/encoder"]
    assert address[:12] in planned


def test_data_lists_the_known_sets_and_the_way_for_ones_own(call):
    code, out, _ = call("data")
    assert code == 0
    for name in ("digits", "cifar10", "cifar100", "svhn", "fashion-mnist", "folder:PATH"):
        assert name in out


@pytest.mark.parametrize(
    ("assignment", "side", "expected"),
    [
        ("paradigms=diffusion", 28, "sides are multiples of 8, these have 28x28"),
        ("masked.patch_size=16", 24, "masked.patch_size 16 does not divide"),
        ("paradigms=contrastive", 4, "need images of at least 8 pixels a side"),
    ],
)
def test_models_that_do_not_fit_the_images_are_refused(assignment, side, expected):
    info = Sizes(train=2000, test=2000, channels=1, height=side, width=side, classes=10)
    with pytest.raises(ConfigError, match=expected):
        check_fit(load_preset("paper", [assignment]), info)


def test_paradigms_that_do_not_run_are_not_checked():
    info = Sizes(train=2000, test=2000, channels=1, height=28, width=28, classes=10)
    check_fit(load_preset("paper", ["paradigms=supervised,contrastive"]), info)


@pytest.fixture
def pictures(tmp_path, monkeypatch) -> Path:
    """A data set of one's own: four pictures of each of two classes in each split."""
    monkeypatch.setenv("REALFEATURES_CACHE", str(tmp_path / "cache"))
    for number in range(16):
        folder = tmp_path / "pictures" / ("train" if number < 8 else "test") / ("cat" if number % 2 else "dog")
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number, 0, 0)).save(folder / f"{number}.png")
    return tmp_path / "pictures"


def test_a_moved_folder_is_the_same_data_and_a_changed_one_is_not(pictures):
    sizes = [
        f"{name}=4" for name in ("attack.images", "attack.autoattack_images", "transfer.images", "loss_curves.images")
    ]

    def address(place: Path) -> str:
        return make_plan(load_preset("digits", [f"data=folder:{place}", *sizes]), seeds=[0]).addresses["data"]

    before = address(pictures)
    moved = pictures.rename(pictures.parent / "moved")
    assert address(moved) == before
    Image.new("RGB", (8, 8), (0, 99, 0)).save(moved / "train" / "cat" / "new.png")
    assert address(moved) != before

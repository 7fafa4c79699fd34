"""The README's Python runs as it stands: in a script without a guard, from standard input and in a notebook."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"

TINY = [
    "paradigms=masked",
    "features=natural,robust",
    "experiments=E1",
    "data.train_size=40",
    "data.test_size=20",
    "adversarial.optimizer.epochs=1",
    "masked.optimizer.epochs=1",
    "masked.optimizer.warmup_epochs=0",
    "adversarial.optimizer.warmup_epochs=0",
    "robust.steps=1",
    "probe.epochs=1",
    "attack.images=20",
    "attack.autoattack_images=20",
]

NOTEBOOK = "import code, sys\ncode.InteractiveInterpreter().runcode(compile(sys.stdin.read(), '<cell>', 'exec'))"


@pytest.fixture
def program(tmp_path: Path) -> str:
    """All Python blocks of the README, with a small preset and a folder of the test's own."""
    text = "\n".join(re.findall(r"^```python\n(.*?)^```", README.read_text(), flags=re.S | re.M))
    assert 'load_preset("digits")' in text
    assert '"runs/demo"' in text
    return text.replace('load_preset("digits")', f'load_preset("digits", {TINY})').replace(
        '"runs/demo"', repr(str(tmp_path / "run"))
    )


@pytest.mark.parametrize(
    "way", ["script", pytest.param("stdin", marks=pytest.mark.slow), pytest.param("notebook", marks=pytest.mark.slow)]
)
def test_the_python_of_the_readme_runs(program, tmp_path, way):
    script = tmp_path / "script.py"
    script.write_text(program)
    words = {"script": [str(script)], "stdin": ["-"], "notebook": ["-c", NOTEBOOK]}[way]
    done = subprocess.run(
        [sys.executable, *words],
        input=None if way == "script" else program,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert str(tmp_path / "run" / "report.html") in done.stdout
    assert (tmp_path / "run" / "results.json").exists()

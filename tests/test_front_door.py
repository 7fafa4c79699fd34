"""The library's names: which there are, and that importing the package costs nothing."""

import subprocess
import sys

import pytest

import realfeatures

SUBMODULES = {
    "cli",
    "components",
    "errors",
    "experiment",
    "kubeflow",
    "logs",
    "pipelines",
    "report",
    "results",
    "running",
}


def in_fresh_process(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("name", realfeatures.__all__)
def test_every_name_is_there_and_documented(name):
    member = getattr(realfeatures, name)
    assert isinstance(member, str) or len(member.__doc__.strip()) > 20


def test_the_package_lists_its_names_and_refuses_others():
    assert dir(realfeatures) == sorted(realfeatures.__all__)
    with pytest.raises(AttributeError, match=r"no attribute 'run'; it has: .*run_experiment"):
        _ = realfeatures.run


@pytest.mark.parametrize(
    "program",
    [
        "import realfeatures",
        "from realfeatures import load_preset, open_results, run_experiment, Results, Measurement, RealFeaturesError",
        "from realfeatures import load_preset; from realfeatures.running.plan import make_plan;"
        " make_plan(load_preset('digits'), seeds=[0])",
    ],
)
def test_nothing_imports_torch_before_something_is_computed(program):
    assert in_fresh_process(f"{program}\nimport sys; print('torch' in sys.modules)") == "False"


def test_the_names_of_the_science_bring_it():
    assert in_fresh_process("from realfeatures import pgd\nimport sys; print('torch' in sys.modules)") == "True"

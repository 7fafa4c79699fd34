"""A profile: what may be changed in it, and what is told of a wrong value."""

import pytest

from realfeatures.errors import ConfigError
from realfeatures.pipelines.profiles import load_profile


def test_a_number_of_cores_may_be_written_as_a_number():
    assert load_profile("cpu", ["cpu=4", "memory=4000000000"]).cpu == "4"


@pytest.mark.parametrize(
    ("name", "assignments", "expected"),
    [
        ("tpu", (), r"--profile 'tpu': expected one of cpu, gpu"),
        ("cpu", ("memroy=4Gi",), r"memroy: unknown key 'memroy'; the top level has: name, accelerator"),
        ("cpu", ("image_pull_policy=Sometimes",), r"image_pull_policy: .*Always"),
        ("cpu", ("retries=-1",), r"retries: .*greater than or equal to 0"),
        ("cpu", ("memory",), r"--profile-set 'memory': expected KEY=VALUE, such as image_pull_policy=Never"),
    ],
)
def test_a_wrong_profile_is_a_one_line_error(name, assignments, expected):
    with pytest.raises(ConfigError, match=expected):
        load_profile(name, assignments)

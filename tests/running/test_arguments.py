"""What the front door takes and refuses, before anything is computed or written."""

import numpy as np
import pytest

from realfeatures import load_preset, open_results, run_experiment
from realfeatures.errors import ConfigError
from realfeatures.running.arguments import check_jobs, opened_store
from realfeatures.running.plan import check_seeds
from realfeatures.store import ObjectStore


@pytest.mark.parametrize(
    ("given", "seeds"),
    [
        (0, (0,)),
        (np.int64(3), (3,)),
        (np.array(3), (3,)),
        (np.arange(1), (0,)),
        (np.arange(2), (0, 1)),
        ([np.int64(0), 1], (0, 1)),
        ((seed for seed in (4, 2)), (4, 2)),
        (range(2, 4), (2, 3)),
    ],
)
def test_whole_numbers_of_any_kind_are_seeds(given, seeds):
    taken = check_seeds(given)
    assert taken == seeds
    assert {type(seed) for seed in taken} == {int}


WHOLE = r": expected whole numbers of at least 0, such as \[0, 1\]"
ASKED = [
    ({"seeds": [1.5]}, r"seeds \[1\.5\]" + WHOLE),
    ({"seeds": [True]}, r"seeds \[True\]" + WHOLE),
    ({"seeds": np.array([True])}, r"seeds array\(\[ *True\]\)" + WHOLE),
    ({"seeds": np.zeros((2, 2), int)}, r"seeds array\(\[\[0, 0\], \[0, 0\]\]\)" + WHOLE),
    ({"seeds": "0"}, "seeds '0'" + WHOLE),
    ({"seeds": b"0"}, "seeds b'0'" + WHOLE),
    ({"seeds": None}, "seeds None" + WHOLE),
    ({"seeds": [0, None]}, r"seeds \[0, None\]" + WHOLE),
    ({"seeds": np.arange(0)}, "seeds: none given; expected at least one"),
    ({"seeds": -1}, "--seed -1: expected a whole number of at least 0"),
    ({"seeds": [0, np.int64(0)]}, "--seed 0: is named twice"),
    ({"jobs": "2"}, "--jobs '2': expected a whole number of at least 1"),
    ({"jobs": 1.5}, r"--jobs 1\.5: expected a whole number of at least 1"),
    ({"jobs": True}, "--jobs True: expected a whole number of at least 1"),
    ({"out": None}, "out None: expected a folder, such as 'runs/demo'"),
    ({"preset": "digits"}, r"preset 'digits': expected what load_preset returns; use load_preset\('digits'\)"),
    ({"store": 5}, "store 5: expected an object store, such as 's3://BUCKET/PREFIX'"),
    ({"store": "bucket"}, "bucket.*expected"),
    ({"name": 5.5, "store": "bucket"}, "bucket.*expected"),
]


@pytest.mark.parametrize(("asked", "message"), ASKED, ids=[str(asked) for asked, _ in ASKED])
def test_what_is_not_usable_is_refused_in_one_line_before_anything_is_written(tmp_path, asked, message):
    values = {"preset": load_preset("digits"), "out": tmp_path / "run", **asked}
    with pytest.raises(ConfigError, match=message) as caught:
        run_experiment(values.pop("preset"), **values)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_jobs_may_be_a_number_of_numpy():
    assert type(check_jobs(np.int64(2))) is int


def test_a_store_is_opened_by_its_location(monkeypatch):
    pytest.importorskip("minio")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    store = opened_store("s3://bucket/prefix")
    assert isinstance(store, ObjectStore)
    assert opened_store(store) is store
    assert opened_store(None) is None


def test_results_open_from_a_folder_alone():
    with pytest.raises(ConfigError, match="folder 5: expected a folder, such as 'runs/demo'"):
        open_results(5)


@pytest.mark.parametrize("assignments", [{"probe.epochs": 5}, "probe.epochs=5", [5], 5, None])
def test_assignments_are_a_list_of_texts(assignments):
    with pytest.raises(ConfigError, match=r"expected a list of KEY=VALUE, such as \['probe\.epochs=5'\]$") as caught:
        load_preset("digits", assignments)
    assert str(caught.value).startswith(f"assignments {assignments!r}: ")
    assert load_preset("digits", ("probe.epochs=5",)).probe.epochs == 5

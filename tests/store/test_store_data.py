"""Data sets in a store: mirrored once, and taken from there by machines that have no other way to them."""

import shlex
from pathlib import Path

import pytest
from command_line import realfeatures
from seaweedfs import STORE, needs_s3

from realfeatures.errors import ConfigError, DataError
from realfeatures.experiment.config import DataConfig
from realfeatures.experiment.presets import load_preset
from realfeatures.science.data.sources import load_source, pin_source
from realfeatures.store.data import mirror, provide

pytestmark = [*needs_s3, pytest.mark.usefixtures("s3_environment")]


def pictures(folder: Path) -> Path:
    from PIL import Image

    for split in ("train", "test"):
        for label in ("cat", "dog"):
            (folder / split / label).mkdir(parents=True)
            for number in range(3):
                colour = (40 * number, 200 if label == "cat" else 20, 0)
                Image.new("RGB", (8, 8), colour).save(folder / split / label / f"{number}.png")
    return folder


def test_a_mirrored_folder_is_used_where_neither_path_nor_cache_has_it(store, tmp_path, monkeypatch):
    folder = pictures(tmp_path / "pets")
    config = pin_source(DataConfig(source=f"folder:{folder}"))
    before = load_source(config)
    assert mirror(DataConfig(source=f"folder:{folder}"), store) == config
    (first,) = store.list("data/")
    assert first.key == f"data/{config.sha256}.tar"
    assert mirror(DataConfig(source=f"folder:{folder}"), store) == config
    assert list(store.list("data/")) == [first]

    folder.rename(tmp_path / "elsewhere")
    monkeypatch.setenv("REALFEATURES_CACHE", str(tmp_path / "another cache"))
    provide(config, store)
    assert pin_source(config) == config
    after = load_source(config)
    assert after["train"].images.equal(before["train"].images)
    assert after["test"].labels.equal(before["test"].labels)
    assert sorted(path.name for path in (tmp_path / "another cache").iterdir()) == ["decoded"]


def test_a_mirror_says_how_a_run_finds_it(store, tmp_path):
    folder = pictures(tmp_path / "my pets")
    done = realfeatures("store", "mirror", f"folder:{folder}", "--store", STORE)
    assert done.returncode == 0, done.stderr
    (stored,) = store.list("data/")
    said = shlex.split(done.stdout.partition(": ")[2])
    assert said[::2] == ["--set", "--set"]
    data = load_preset("digits", said[1::2]).data
    assert (data.source, f"data/{data.sha256}.tar") == (f"folder:{folder}", stored.key)


def test_a_copy_that_another_pillow_decoded_is_told_and_replaced(store, tmp_path, monkeypatch):
    source = DataConfig(source=f"folder:{pictures(tmp_path / 'pets')}")
    with monkeypatch.context() as older:
        older.setattr("realfeatures.science.data.decoded._made_by", lambda: {"format": 1, "pillow": "9.0"})
        config = mirror(source, store)
    monkeypatch.setenv("REALFEATURES_CACHE", str(tmp_path / "pod"))
    for _ in range(2):
        with pytest.raises(DataError, match="decoded by another version of realfeatures or Pillow; mirror it again"):
            provide(config, store)
    assert mirror(source, store) == config
    monkeypatch.setenv("REALFEATURES_CACHE", str(tmp_path / "another pod"))
    provide(config, store)
    assert len(load_source(config)["train"].labels) == 6


def test_a_named_set_is_mirrored_with_its_files(store, tmp_path, monkeypatch):
    files = tmp_path / "cache" / "downloads" / "cifar10" / "cifar-10-batches-py"
    files.mkdir(parents=True)
    names = ["batches.meta", "test_batch", *(f"data_batch_{number}" for number in range(1, 6))]
    for name in names:
        (files / name).write_text(name)
    mirror(DataConfig(source="cifar10"), store)
    assert [one.key for one in store.list()] == ["data/cifar10.tar"]
    monkeypatch.setenv("REALFEATURES_CACHE", str(tmp_path / "pod"))
    provide(DataConfig(source="cifar10"), store)
    there = tmp_path / "pod" / "downloads" / "cifar10" / "cifar-10-batches-py"
    assert {path.name: path.read_text() for path in there.iterdir()} == {name: name for name in names}


def test_what_ships_with_a_library_needs_no_mirror(store):
    with pytest.raises(ConfigError, match="every machine has it"):
        mirror(DataConfig(source="digits"), store)

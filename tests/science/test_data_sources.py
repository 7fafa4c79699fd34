import gzip
import hashlib
import io
import pickle
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.io import savemat
from sklearn.datasets import load_digits
from torchvision import datasets

from realfeatures.errors import DataError, StorageError
from realfeatures.experiment.config import DataConfig
from realfeatures.science.data import sources
from realfeatures.science.data.decoded import Sizes, cache_folder
from realfeatures.science.data.named import DATA_SOURCES, NamedSource
from realfeatures.science.data.sources import describe_source, load_source, pin_source, stratified_subset


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("REALFEATURES_CACHE", str(tmp_path / "cache"))


def image_bytes(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (8, 8), value).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def pets(tmp_path) -> Path:
    """Three classes; ten training images each, of values 0-9, 10-19, 20-29, and two test images each."""
    for index, label in enumerate(("cat", "dog", "eel")):
        for split, count in (("train", 10), ("test", 2)):
            (tmp_path / "pets" / split / label).mkdir(parents=True)
            for number in range(count):
                path = tmp_path / "pets" / split / label / f"{number}.png"
                path.write_bytes(image_bytes(10 * index + number))
    return tmp_path / "pets"


def config_of(folder: Path, **values: int) -> DataConfig:
    return DataConfig(source=f"folder:{folder}", **values)


def test_digits_are_scaled_from_sixteen_levels_and_split_at_the_end():
    splits = load_source(DataConfig(source="digits"))
    assert splits["train"].images.shape == (1297, 1, 8, 8)
    assert splits["test"].images.shape == (500, 1, 8, 8)
    assert splits["train"].images.dtype == torch.uint8
    assert splits["train"].labels.dtype == torch.int64
    assert splits["train"].classes == tuple("0123456789")
    original = load_digits()
    both = torch.cat([splits["train"].images, splits["test"].images])[:, 0]
    np.testing.assert_allclose(both.double().numpy() * 16 / 255, original.images, atol=16 / 255 / 2)
    np.testing.assert_array_equal(torch.cat([splits["train"].labels, splits["test"].labels]), original.target)
    assert splits["test"].labels.bincount().min() >= 40  # not sorted by class


def test_a_folder_is_pinned_described_and_loaded(pets):
    config = pin_source(config_of(pets, train_size=6))
    assert config.sha256 is not None
    assert describe_source(config) == Sizes(6, 6, 1, 8, 8, 3)
    splits = load_source(config)
    assert splits["train"].classes == splits["test"].classes == ("cat", "dog", "eel")
    assert sorted(splits["train"].labels.tolist()) == [0, 0, 1, 1, 2, 2]
    assert (splits["train"].images[:, 0, 0, 0] // 10).tolist() == splits["train"].labels.tolist()
    assert sorted(splits["test"].images[:, 0, 0, 0].tolist()) == [0, 1, 10, 11, 20, 21]
    assert splits["test"].labels.tolist() != sorted(splits["test"].labels.tolist())  # its first images are attacked
    assert torch.equal(load_source(config)["test"].images, splits["test"].images)


def test_titles_of_archives_leave_their_suffix_out(pets, tmp_path):
    assert sources.title(DataConfig(source="folder:/data/cifar10-jpeg75.tar.xz")) == "folder cifar10-jpeg75"
    assert sources.title(DataConfig(source="folder:my.pets.zip")) == "folder my.pets"
    assert sources.title(config_of(pets)) == "folder pets"
    odd = pets.rename(tmp_path / "pets.tar")
    assert sources.title(config_of(odd)) == "folder pets.tar"


def test_a_folder_that_changed_after_it_was_pinned_is_refused(pets):
    config = pin_source(config_of(pets))
    assert pin_source(config) == config
    (pets / "train/cat/0.png").write_bytes(image_bytes(99))
    for use in (pin_source, load_source):
        with pytest.raises(DataError, match=r"changed since the run was planned .*; run again"):
            use(config)
    assert pin_source(config_of(pets)).sha256 != config.sha256


def test_a_moved_folder_keeps_its_identity(pets, tmp_path):
    before = pin_source(config_of(pets))
    after = pin_source(config_of(pets.rename(tmp_path / "elsewhere")))
    assert after != before
    assert after.identity() == before.identity()


def test_describing_needs_no_pin(pets):
    assert describe_source(config_of(pets, test_size=3)) == Sizes(30, 3, 1, 8, 8, 3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"train_size": 31}, "data.train_size=31: folder pets has 30 train images of 3 classes; expected 3 to 30"),
        ({"train_size": 2}, "data.train_size=2: .*; expected 3 to 30"),
        ({"test_size": 7}, "data.test_size=7: folder pets has 6 test images"),
        ({"test_size": 1}, "data.test_size=1: .*; expected 3 to 6"),
    ],
)
def test_a_subset_that_cannot_be_taken_is_refused(pets, values, message):
    for use in (pin_source, describe_source, load_source):
        with pytest.raises(DataError, match=message):
            use(config_of(pets, **values))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (DataConfig(source="cifar11"), "data.source='cifar11' is unknown; expected one of digits, cifar10"),
        (DataConfig(source="./pets.zip"), "is unknown; .*; write folder:./pets.zip"),
        (DataConfig(source="folder:"), "names no path; write folder:PATH"),
        (DataConfig(source="folder:/no/such"), "folder:/no/such does not exist"),
        (DataConfig(source="digits", sha256="0" * 64), "data.sha256 is set for 'digits'"),
        (DataConfig(source="cifar10", train_size=50_001), "CIFAR-10 has 50000 train images"),
        (DataConfig(source="cifar100", test_size=99), "expected 100 to 10000"),
    ],
)
def test_a_source_that_cannot_be_used_is_refused_everywhere(config, message):
    for use in (pin_source, describe_source, load_source):
        with pytest.raises(DataError, match=message) as error:
            use(config)
        assert "\n" not in str(error.value)


def test_named_sets_are_described_without_their_files():
    for source in DATA_SOURCES.values():
        config = DataConfig(source=source.name)
        assert pin_source(config) == config
        assert describe_source(config) == source.whole
    assert describe_source(DataConfig(source="svhn", train_size=1000)) == Sizes(1000, 26032, 3, 32, 32, 10)


def test_the_list_says_what_needs_a_download():
    assert [source.name for source in DATA_SOURCES.values() if source.cached] == ["digits"]
    files = DATA_SOURCES["svhn"].files
    for file in files:
        path = cache_folder() / "downloads/svhn" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert [source.name for source in DATA_SOURCES.values() if source.cached] == ["digits", "svhn"]


def test_planning_imports_no_torch(pets):
    code = (
        "import sys; from realfeatures.experiment.config import DataConfig;"
        "from realfeatures.science.data import sources;"
        "assert 'numpy' not in sys.modules;"
        f"config = sources.pin_source(DataConfig(source={'folder:' + str(pets)!r}));"
        "sources.describe_source(config); assert config.sha256;"
        "assert not {'torch', 'torchvision', 'sklearn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_several_workers_may_load_at_once(pets):
    config = config_of(pets)
    with ThreadPoolExecutor(4) as pool:
        loaded = list(pool.map(load_source, [config] * 8))
    assert all(torch.equal(each["train"].images, loaded[0]["train"].images) for each in loaded)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"REALFEATURES_CACHE": "/a", "XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/a"),
        ({"XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/b/realfeatures"),
        ({"XDG_CACHE_HOME": "relative", "HOME": "/c"}, "/c/.cache/realfeatures"),
        ({"REALFEATURES_CACHE": "", "HOME": "/c"}, "/c/.cache/realfeatures"),
    ],
)
def test_the_cache_folder_follows_the_environment(monkeypatch, variables, expected):
    for name in ("REALFEATURES_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == Path(expected)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_a_subset_keeps_the_class_shares(data):
    counts = data.draw(st.lists(st.integers(1, 60), min_size=2, max_size=8))
    total = sum(counts)
    size = data.draw(st.integers(len(counts), total))
    labels = np.random.RandomState(total).permutation(np.repeat(np.arange(len(counts)), counts))
    chosen = stratified_subset(labels, size)
    assert len(chosen) == size
    assert (np.diff(chosen) > 0).all()
    sizes = np.bincount(labels[chosen], minlength=len(counts))
    assert (sizes >= 1).all()
    assert (sizes <= counts).all()
    shares = size * np.array(counts) / total
    # Where every class is due at least one image, each gets its share rounded up or down.
    if (shares >= 1).all():
        assert (np.abs(sizes - shares) < 1).all()
    np.testing.assert_array_equal(chosen, stratified_subset(labels, size))


def test_a_rare_class_is_never_left_out():
    labels = np.repeat([0, 1, 2], [96, 2, 2])
    assert np.bincount(labels[stratified_subset(labels, 10)]).tolist() == [8, 1, 1]


def test_equal_classes_differ_by_one_image_at_most():
    labels = np.tile(np.arange(7), 30)
    sizes = np.bincount(labels[stratified_subset(labels, 100)])
    assert sizes.max() - sizes.min() == 1


def test_a_subset_is_spread_over_a_class_and_contained_in_a_larger_one():
    labels = np.tile(np.arange(4), 250)
    small, large = (stratified_subset(labels, size) for size in (100, 400))
    assert set(small) < set(large)
    assert 300 < small.mean() < 700  # the first hundred would have a mean of 50


def refuse_connections(monkeypatch):
    """Send every download to a port that nobody listens at."""
    for kind, name in ((datasets.CIFAR10, "cifar-10-python.tar.gz"), (datasets.CIFAR100, "cifar-100-python.tar.gz")):
        monkeypatch.setattr(kind, "url", f"http://127.0.0.1:9/{name}")
    monkeypatch.setattr(datasets.FashionMNIST, "mirrors", ["http://127.0.0.1:9/"])
    split_list = {split: ["http://127.0.0.1:9/x.mat", *rest] for split, (_, *rest) in datasets.SVHN.split_list.items()}
    monkeypatch.setattr(datasets.SVHN, "split_list", split_list)


@pytest.mark.parametrize("name", [name for name, source in DATA_SOURCES.items() if source.files])
def test_without_a_network_one_line_says_what_to_do(monkeypatch, tmp_path, name):
    refuse_connections(monkeypatch)
    message = (
        f"cannot be downloaded .*Connection refused.*; put its original files into an empty {tmp_path}.*/{name}, or use"
    )
    with pytest.raises(DataError, match=message) as error:
        load_source(DataConfig(source=name))
    assert "\n" not in str(error.value)


def test_a_cache_folder_that_cannot_be_written_is_named(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("REALFEATURES_CACHE", str(tmp_path / "file"))
    with pytest.raises(StorageError, match=r"cannot write .*/file/downloads/svhn"):
        load_source(DataConfig(source="svhn"))


def write_idx(path: Path, values: np.ndarray) -> None:
    header = struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header + values.tobytes())


def write_fashion_mnist(train: int, test: int) -> Path:
    """Write a stand-in in the original file format: image i is filled with i mod 256, its label is i mod 10."""
    raw = cache_folder() / "downloads/fashion-mnist/FashionMNIST/raw"
    for name, count in (("train", train), ("t10k", test)):
        index = np.arange(count)
        images = np.broadcast_to((index % 256).astype(np.uint8)[:, None, None], (count, 28, 28))
        write_idx(raw / f"{name}-images-idx3-ubyte", np.ascontiguousarray(images))
        write_idx(raw / f"{name}-labels-idx1-ubyte", (index % 10).astype(np.uint8))
    return raw


def test_fashion_mnist_files_in_the_cache_are_used_without_a_network(monkeypatch):
    refuse_connections(monkeypatch)
    write_fashion_mnist(60_000, 10_000)
    splits = load_source(DataConfig(source="fashion-mnist", train_size=600, test_size=100))
    assert splits["train"].images.shape == (600, 1, 28, 28)
    assert splits["train"].classes[9] == "Ankle boot"
    assert splits["train"].labels.bincount().tolist() == [60] * 10
    # 256 and 10 are both even: a pixel's parity is its label's
    assert torch.equal(splits["train"].images[:, 0, 27, 27].long() % 2, splits["train"].labels % 2)


def test_an_incomplete_set_is_refused(monkeypatch):
    refuse_connections(monkeypatch)
    raw = write_fashion_mnist(300, 100)
    sizes = "has 300 training and 100 test images of 1x28x28 in 10 classes, expected 60000"
    with pytest.raises(DataError, match=f"{sizes} .*; delete .* and run again"):
        load_source(DataConfig(source="fashion-mnist"))
    images = raw / "train-images-idx3-ubyte"
    images.write_bytes(images.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"cannot be .* read .*; put its original files into an empty "):
        load_source(DataConfig(source="fashion-mnist"))


def ten_images_of(name: str) -> NamedSource:
    """A known set as if it had ten images in each split."""
    return replace(DATA_SOURCES[name], whole=replace(DATA_SOURCES[name].whole, train=10, test=10))


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def test_cifar_batches_become_channels_first(monkeypatch):
    """A stand-in of ten images in CIFAR-10's own format, with its checksums in place of the original's."""
    folder = DATA_SOURCES["cifar10"].folder / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    pixels = np.random.RandomState(0).randint(0, 256, (10, 3, 32, 32), dtype=np.uint8)
    (folder / "data").write_bytes(pickle.dumps({"data": pixels.reshape(10, -1), "labels": list(range(10))}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": [f"class {i}" for i in range(10)]}))
    files = [["data", md5(folder / "data")]]
    monkeypatch.setattr(datasets.CIFAR10, "train_list", files)
    monkeypatch.setattr(datasets.CIFAR10, "test_list", files)
    monkeypatch.setattr(datasets.CIFAR10, "meta", {**datasets.CIFAR10.meta, "md5": md5(folder / "batches.meta")})
    decoded = ten_images_of("cifar10").load()
    np.testing.assert_array_equal(decoded.train_images, pixels)
    assert decoded.test_labels.tolist() == list(range(10))
    assert decoded.classes[3] == "class 3"


def test_svhn_matrices_become_channels_first(monkeypatch):
    """A stand-in of ten images in SVHN's own format, with its checksums in place of the original's."""
    folder = DATA_SOURCES["svhn"].folder
    folder.mkdir(parents=True)
    pixels = np.random.RandomState(0).randint(0, 256, (10, 3, 32, 32), dtype=np.uint8)
    path = folder / "images.mat"
    savemat(path, {"X": pixels.transpose(2, 3, 1, 0), "y": np.arange(1, 11)[:, None]})
    entry = ["http://127.0.0.1:9/x.mat", path.name, md5(path)]
    monkeypatch.setattr(datasets.SVHN, "split_list", {"train": entry, "test": entry})
    decoded = ten_images_of("svhn").load()
    np.testing.assert_array_equal(decoded.train_images, pixels)
    assert decoded.train_labels.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]  # its label 10 is the digit 0
    assert decoded.classes == tuple("0123456789")


def test_a_file_with_a_wrong_checksum_is_not_read(monkeypatch):
    refuse_connections(monkeypatch)
    folder = DATA_SOURCES["svhn"].folder
    folder.mkdir(parents=True)
    (folder / "train_32x32.mat").write_bytes(gzip.compress(b"something else"))
    with pytest.raises(DataError, match="SVHN cannot be downloaded"):
        load_source(DataConfig(source="svhn"))

import gzip
import io
import json
import lzma
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from realfeatures.errors import DataError
from realfeatures.science.data import archive, folder
from realfeatures.science.data.decoded import cache_folder
from realfeatures.science.data.folder import check_folder, read_folder

Pixel = int | tuple[int, ...]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("REALFEATURES_CACHE", str(tmp_path / "cache"))


def image_bytes(value: Pixel = 0, *, mode: str = "RGB", size: tuple[int, int] = (8, 8), kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, value).save(buffer, kind)
    return buffer.getvalue()


def two_classes(mode: str = "RGB") -> dict[str, bytes]:
    """Four training and two test images, each of another colour."""
    names = (
        "train/cat/1.png",
        "train/cat/2.png",
        "train/dog/1.png",
        "train/dog/2.png",
        "test/cat/1.png",
        "test/dog/1.png",
    )
    value = {"RGB": lambda index: (10 * index, 0, 255), "L": lambda index: 10 * index}[mode]
    return {name: image_bytes(value(index), mode=mode) for index, name in enumerate(names)}


def write_tree(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def write_tar(path: Path, files: dict[str, bytes], *, extra: tuple[tarfile.TarInfo, ...] = ()) -> Path:
    compression = path.suffix.removeprefix(".").replace("tgz", "gz").replace("tar", "")
    with tarfile.open(path, f"w:{compression}") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        for entry in extra:
            tar.addfile(entry)
    return path


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive_file:
        for name, content in files.items():
            archive_file.writestr(name, content)
    return path


def with_file(name: str, content: bytes) -> dict[str, bytes]:
    return {**two_classes(), name: content}


def test_images_come_in_the_order_of_their_paths_with_sorted_class_names(tmp_path):
    decoded, _ = read_folder(write_tree(tmp_path / "data", two_classes()))
    assert decoded.classes == ("cat", "dog")
    assert decoded.train_images.shape == (4, 3, 8, 8)
    assert decoded.train_images.dtype == np.uint8
    assert decoded.train_images[:, 0, 0, 0].tolist() == [0, 10, 20, 30]
    assert (decoded.train_images[:, 2] == 255).all()
    assert decoded.train_labels.tolist() == [0, 0, 1, 1]
    assert decoded.test_images[:, 0, 0, 0].tolist() == [40, 50]
    assert decoded.test_labels.tolist() == [0, 1]


def test_rows_are_height_and_columns_width(tmp_path):
    pixels = np.arange(4 * 6, dtype=np.uint8).reshape(4, 6)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    names = ("train/a/1.png", "train/b/1.png", "test/a/1.png", "test/b/1.png")
    decoded, summary = read_folder(write_tree(tmp_path / "data", dict.fromkeys(names, buffer.getvalue())))
    assert (summary.sizes.channels, summary.sizes.height, summary.sizes.width) == (1, 4, 6)
    np.testing.assert_array_equal(decoded.train_images[0, 0], pixels)


@pytest.mark.parametrize("name", ["d.tar", "d.tar.gz", "d.tgz", "d.tar.xz", "d.tar.bz2", "d.TAR.GZ", "d.zip"])
def test_an_archive_equals_its_tree(tmp_path, name):
    files = two_classes()
    tree, expected = read_folder(write_tree(tmp_path / "data", files))
    write = write_zip if name.endswith("zip") else write_tar
    backwards = {f"around/{name}": content for name, content in reversed(files.items())}
    path = tmp_path / name.lower()
    write(path, backwards)
    path = path.rename(tmp_path / name)
    decoded, summary = read_folder(path)
    assert summary == expected
    np.testing.assert_array_equal(decoded.train_images, tree.train_images)
    np.testing.assert_array_equal(decoded.test_labels, tree.test_labels)


def test_one_folder_around_the_splits_changes_nothing(tmp_path):
    plain = check_folder(write_tree(tmp_path / "plain", two_classes()))
    assert check_folder(write_tree(tmp_path / "around/pets", two_classes()).parent) == plain


def test_the_digest_follows_bytes_names_and_classes(tmp_path):
    files = two_classes()
    renamed = {name.replace("dog/2", "dog/3"): content for name, content in files.items()}
    moved = {name.replace("train/cat/2", "train/dog/3"): content for name, content in files.items()}
    changed = {**files, "test/dog/1.png": image_bytes((1, 2, 3))}
    variants = [files, renamed, moved, changed]
    digests = {check_folder(write_tree(tmp_path / str(index), each)).sha256 for index, each in enumerate(variants)}
    assert len(digests) == 4


def test_files_of_file_managers_and_beside_the_splits_are_ignored(tmp_path):
    expected = check_folder(write_tree(tmp_path / "data", two_classes()))
    noise = {
        "README.md": b"about",
        "train/.DS_Store": b"",
        "train/cat/.DS_Store": b"",
        "train/cat/Thumbs.db": b"",
        "__MACOSX/train/cat/._1.png": b"",
        "train/.cache/1.png": b"",
    }
    assert check_folder(write_tree(tmp_path / "noisy", {**two_classes(), **noise})) == expected
    assert check_folder(write_zip(tmp_path / "noisy.zip", {**noise, **two_classes()})) == expected


def test_grey_images_stay_one_channel(tmp_path):
    bilevel = {name: image_bytes(1, mode="1") for name in ("train/cat/3.png", "test/dog/3.png")}
    decoded, summary = read_folder(write_tree(tmp_path / "data", {**two_classes("L"), **bilevel}))
    assert summary.sizes.channels == 1
    assert decoded.train_images.shape == (5, 1, 8, 8)
    assert decoded.train_images[:, 0, 0, 0].tolist() == [0, 10, 255, 20, 30]


def test_one_colour_image_makes_all_three_channels(tmp_path):
    files = {**two_classes("L"), "test/dog/1.png": image_bytes((1, 2, 3))}
    decoded, _ = read_folder(write_tree(tmp_path / "data", files))
    assert decoded.train_images[1, :, 0, 0].tolist() == [10, 10, 10]
    assert decoded.test_images[1, :, 0, 0].tolist() == [1, 2, 3]


@pytest.mark.parametrize("kind", ["BMP", "JPEG", "PPM", "WEBP"])
def test_every_accepted_format_is_decoded(tmp_path, kind):
    name = f"test/cat/2.{kind.lower()}"
    decoded, _ = read_folder(write_tree(tmp_path / "data", with_file(name, image_bytes((90, 90, 90), kind=kind))))
    np.testing.assert_allclose(decoded.test_images[1], 90, atol=2)


def test_palette_and_opaque_alpha_become_rgb(tmp_path):
    palette = Image.new("RGB", (8, 8), (9, 8, 7)).quantize(4)
    buffer = io.BytesIO()
    palette.save(buffer, "PNG")
    files = {
        **two_classes(),
        "test/cat/1.png": buffer.getvalue(),
        "test/dog/1.png": image_bytes((1, 2, 3, 255), mode="RGBA"),
    }
    decoded, _ = read_folder(write_tree(tmp_path / "data", files))
    assert decoded.test_images[:, :, 0, 0].tolist() == [[9, 8, 7], [1, 2, 3]]


def test_links_to_images_in_a_tree_are_followed(tmp_path):
    expected = check_folder(write_tree(tmp_path / "data", two_classes()))
    for name in two_classes():
        link = tmp_path / "links" / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(tmp_path / "data" / name)
    assert check_folder(tmp_path / "links") == expected


def test_a_broken_link_is_named(tmp_path):
    tree = write_tree(tmp_path / "data", two_classes())
    (tree / "train/cat/9.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(DataError, match=r"train/cat/9\.png: cannot be read \(No such file"):
        check_folder(tree)


BAD_TREES = {
    "empty": ({}, "is empty"),
    "no splits": ({"cat/1.png": image_bytes()}, "neither train/ nor test/"),
    "no test": ({"train/cat/1.png": image_bytes(), "train/dog/1.png": image_bytes()}, "no images in test/"),
    "no train": ({"test/cat/1.png": image_bytes(), "test/dog/1.png": image_bytes()}, "no images in train/"),
    "one class": ({"train/cat/1.png": image_bytes(), "test/cat/1.png": image_bytes()}, "one class \\('cat'\\)"),
    "class only in train": (
        with_file("train/eel/1.png", image_bytes()),
        "'eel' has images in train/ but none in test/",
    ),
    "class only in test": (with_file("test/eel/1.png", image_bytes()), "'eel' has images in test/ but none in train/"),
    "text file": (with_file("train/cat/labels.txt", b"cat"), "'train/cat/labels.txt' is not an image"),
    "text as image": (with_file("train/cat/3.png", b"cat"), "'train/cat/3.png' is not an image, whatever"),
    "empty image": (with_file("train/cat/3.png", b""), "'train/cat/3.png' is not an image, whatever"),
    "cut image": (with_file("test/dog/3.png", image_bytes(kind="BMP")[:-20]), "'test/dog/3.png' cannot be decoded"),
    "cut jpeg": (with_file("test/dog/3.jpg", image_bytes(kind="JPEG")[:-40]), "'test/dog/3.jpg' cannot be decoded"),
    "other size": (with_file("train/dog/3.png", image_bytes(size=(8, 9))), "has 8x9 pixels, '.*' has 8x8"),
    "too small": (with_file("test/cat/0.png", image_bytes(size=(3, 8))), "has 3x8 pixels; expected sides of 4 to 512"),
    "too large": (with_file("test/cat/0.png", image_bytes(size=(8, 513))), "has 8x513 pixels; expected sides of 4"),
    "sixteen bits": (with_file("test/cat/0.png", image_bytes(9, mode="I;16")), "pixels of mode I;16; expected 8 bits"),
    "transparent": (with_file("test/cat/0.png", image_bytes((0, 0, 0, 9), mode="RGBA")), "is partly transparent"),
    "no class folder": (with_file("train/1.png", image_bytes()), "'train/1.png' is not directly in a class folder"),
    "too deep": (with_file("train/cat/more/1.png", image_bytes()), "cat/more' is a folder; expected train/CLASS/IMAGE"),
    "two sets": (
        {f"{name}/{file}": content for name in ("a", "b") for file, content in two_classes().items()},
        "several data sets \\(a, b\\); name one",
    ),
    "unprintable class": (
        {f"{split}/{name}/1.png": image_bytes() for split in ("train", "test") for name in ("cat", "d\nog")},
        "not printable",
    ),
}


@pytest.mark.parametrize("problem", BAD_TREES)
def test_a_bad_tree_gets_one_line_that_names_the_problem(tmp_path, problem):
    files, message = BAD_TREES[problem]
    root = tmp_path / "data"
    root.mkdir()
    with pytest.raises(DataError, match=message) as error:
        check_folder(write_tree(root, files))
    assert "\n" not in str(error.value)


def test_a_missing_folder_and_an_unknown_kind_of_file_are_refused(tmp_path):
    with pytest.raises(DataError, match="does not exist; expected a folder or an archive"):
        check_folder(tmp_path / "nowhere")
    (tmp_path / "data.rar").write_bytes(b"Rar!")
    with pytest.raises(DataError, match=r"data\.rar is neither a folder nor an archive; expected \.tar"):
        check_folder(tmp_path / "data.rar")
    with pytest.raises(DataError, match="cannot be read"):
        check_folder(tmp_path / ("x" * 300))


def tar_entry(name: str, *, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type = kind
    entry.linkname = target
    return entry


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (tar_entry("/etc/passwd"), "'/etc/passwd' leads out of"),
        (tar_entry("train/cat/../../../x.png"), "leads out of"),
        (tar_entry("../outside", kind=tarfile.DIRTYPE), "'../outside' leads out of"),
        (tar_entry("C:/x.png"), "'C:/x.png' leads out of"),
        (tar_entry("train/cat/3.png", kind=tarfile.SYMTYPE, target="/etc/passwd"), "is a link or a device"),
        (tar_entry("train/cat/3.png", kind=tarfile.LNKTYPE, target="train/cat/1.png"), "is a link or a device"),
        (tar_entry("train/cat/3.png", kind=tarfile.CHRTYPE), "is a link or a device"),
        (tar_entry("train/cat/3.png", kind=tarfile.FIFOTYPE), "is a link or a device"),
    ],
    ids=lambda value: value.name if isinstance(value, tarfile.TarInfo) else "",
)
def test_a_tar_member_that_is_no_file_or_leads_out_is_refused(tmp_path, entry, message):
    with pytest.raises(DataError, match=message):
        check_folder(write_tar(tmp_path / "data.tar", two_classes(), extra=(entry,)))


@pytest.mark.parametrize("name", ["/train/cat/3.png", "../3.png", "train\\..\\..\\3.png", "C:\\3.png"])
def test_a_zip_member_that_leads_out_is_refused(tmp_path, name):
    with pytest.raises(DataError, match="leads out of the archive's folder"):
        check_folder(write_zip(tmp_path / "data.zip", with_file(name, image_bytes())))


def test_a_zip_member_that_is_a_link_is_refused(tmp_path):
    path = write_zip(tmp_path / "data.zip", two_classes())
    link = zipfile.ZipInfo("train/cat/3.png")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(path, "a") as archive_file:
        archive_file.writestr(link, "/etc/passwd")
    with pytest.raises(DataError, match=r"'train/cat/3.png' is a link or a device"):
        check_folder(path)


def test_an_encrypted_zip_is_refused(tmp_path):
    path = write_zip(tmp_path / "data.zip", two_classes())
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1  # the flag in the central directory
    path.write_bytes(content)
    with pytest.raises(DataError, match="is encrypted; make the archive without a password"):
        check_folder(path)


@pytest.mark.parametrize("name", ["data.tar", "data.tar.gz", "data.tar.xz", "data.tar.bz2", "data.zip"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.9])
def test_a_truncated_archive_is_refused(tmp_path, name, share):
    write = write_zip if name.endswith("zip") else write_tar
    path = write(tmp_path / name, two_classes())
    end = path.read_bytes().rstrip(b"\0")  # a plain tar ends in zeros
    path.write_bytes(end[: int(share * len(end))])
    with pytest.raises(DataError, match="truncated or damaged archive"):
        check_folder(path)


@pytest.mark.parametrize("compress", [bytes, gzip.compress, lzma.compress], ids=["tar", "gz", "xz"])
def test_a_tar_cut_between_two_members_is_refused(tmp_path, compress):
    """tarfile itself takes such a cut, or a damaged header, for the end."""
    whole = write_tar(tmp_path / "whole.tar", with_file("train/cat/9.png", image_bytes())).read_bytes()
    last_header = whole.index(b"train/cat/9.png")
    suffix = {bytes: "", gzip.compress: ".gz", lzma.compress: ".xz"}[compress]
    path = tmp_path / f"data.tar{suffix}"
    for content in (whole[:last_header], whole[: last_header + 100], whole[:last_header] + b"\1" * 2048):
        path.write_bytes(compress(content))
        with pytest.raises(DataError, match="truncated or damaged archive"):
            check_folder(path)


@pytest.mark.parametrize("name", ["data.zip", "data.tar.gz", "data.tar.xz"])
def test_a_flipped_bit_is_refused_or_changes_no_image(tmp_path, name):
    """A date or a mode may differ; never a pixel, a class or the number of images."""
    write = write_zip if name.endswith("zip") else write_tar
    path = write(tmp_path / name, two_classes())
    expected = check_folder(path)
    good = path.read_bytes()
    refused = 0
    for position in range(0, len(good), len(good) // 40):
        path.write_bytes(good[:position] + bytes([good[position] ^ 0x10]) + good[position + 1 :])
        try:
            assert check_folder(path) == expected
        except DataError as error:
            assert "\n" not in str(error)  # noqa: PT017 - some flips are harmless
            refused += 1
    assert refused > 20


def test_an_archive_with_the_same_member_twice_is_refused(tmp_path):
    path = write_tar(tmp_path / "data.tar", {**two_classes(), "./train/cat/1.png": image_bytes()})
    with pytest.raises(DataError, match=r"'train/cat/1.png' occurs twice"):
        check_folder(path)


def test_two_data_sets_in_one_archive_are_refused(tmp_path):
    files = {f"{outer}/{name}": content for outer in ("a", "b") for name, content in two_classes().items()}
    with pytest.raises(DataError, match="are two data sets"):
        check_folder(write_tar(tmp_path / "data.tar", files))


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    huge = Image.new("1", (10_000, 10_000))  # 12 kB of PNG, 300 MB as RGB
    buffer = io.BytesIO()
    huge.save(buffer, "PNG")
    with pytest.raises(DataError, match="has 10000x10000 pixels; expected sides of 4 to 512"):
        check_folder(write_tree(tmp_path / "pixels", with_file("train/cat/0.png", buffer.getvalue())))
    zeros = with_file("train/cat/0.png", bytes(archive.MAX_FILE_BYTES + 1))
    for path in (write_zip(tmp_path / "b.zip", zeros), write_tar(tmp_path / "b.tar.xz", zeros)):
        with pytest.raises(DataError, match=r"'train/cat/0.png' has 16777217 bytes; expected an image"):
            check_folder(path)
    monkeypatch.setattr(archive, "MAX_ARCHIVE_BYTES", 1 << 20)
    beside = {"notes.txt": bytes(2 << 20), **two_classes()}
    with pytest.raises(DataError, match="unpacks to more than"):
        check_folder(write_tar(tmp_path / "total.tar.xz", beside))


def test_a_tar_header_that_claims_to_be_huge_is_refused(tmp_path):
    path = tmp_path / "data.tar.gz"
    entry = tarfile.TarInfo("pax")
    entry.type, entry.size = tarfile.XHDTYPE, 200 << 20
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(entry.tobuf() + bytes(1 << 20))
    with pytest.raises(DataError, match=r"damaged archive \(a header of \d+ bytes\)"):
        check_folder(path)


def test_a_set_too_large_for_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "MAX_DECODED_BYTES", 3 * 8 * 8 * 3)
    with pytest.raises(DataError, match="the first 4 images decode to more than"):
        check_folder(write_tree(tmp_path / "data", two_classes()))


def entry_paths() -> tuple[Path, Path]:
    (tensors,) = (cache_folder() / "decoded").glob("*.safetensors")
    return tensors, tensors.with_suffix(".json")


def forbid_decoding(monkeypatch):
    def refuse(*_):
        raise AssertionError("decoded again")

    monkeypatch.setattr(folder, "_decode_image", refuse)


def test_a_second_look_decodes_nothing(tmp_path, monkeypatch):
    tree = write_tree(tmp_path / "data", two_classes())
    tar = write_tar(tmp_path / "data.tar.xz", two_classes())
    first = check_folder(tree)
    assert check_folder(tar) == first
    forbid_decoding(monkeypatch)
    for path in (tree, tar):
        decoded, summary = read_folder(path)
        assert summary == first == check_folder(path)
        assert decoded.train_images[:, 0, 0, 0].tolist() == [0, 10, 20, 30]


def test_a_damaged_cache_entry_is_made_again(tmp_path, caplog):
    tree = write_tree(tmp_path / "data", two_classes())
    expected, summary = read_folder(tree)
    tensors, sidecar = entry_paths()
    good = tensors.read_bytes()
    tensors.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    decoded, _ = read_folder(tree)
    assert "was damaged and is made again" in caplog.text
    np.testing.assert_array_equal(decoded.test_images, expected.test_images)
    assert tensors.read_bytes() == good
    for content in ("", "{}", "[1]", '{"summary": {"classes": 3}}'):
        sidecar.write_text(content)
        assert read_folder(tree)[1] == check_folder(tree) == summary
    tensors.unlink()
    assert read_folder(tree)[1] == summary
    assert tensors.read_bytes() == good


def test_a_cache_entry_of_another_decoder_is_made_again(tmp_path):
    tree = write_tree(tmp_path / "data", two_classes())
    check_folder(tree)
    sidecar = entry_paths()[1]
    good = json.loads(sidecar.read_text())
    sidecar.write_text(json.dumps({**good, "made_by": {"format": 0, "pillow": "1"}}))
    check_folder(tree)
    assert json.loads(sidecar.read_text()) == good


def test_a_cache_that_cannot_be_written_costs_only_a_warning(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("REALFEATURES_CACHE", str(tmp_path / "file"))
    path = write_tar(tmp_path / "data.tar", two_classes())
    assert check_folder(path) == read_folder(path)[1]
    assert "the decoded images are not kept: cannot write" in caplog.text


def test_the_cache_holds_no_half_written_files(tmp_path):
    check_folder(write_tar(tmp_path / "data.tar", two_classes()))
    names = sorted(path.suffix for path in cache_folder().rglob("*") if path.is_file())
    assert names == [".json", ".json", ".safetensors"]

"""Archives of artifacts: equal bytes for equal content, and nothing that leaves the folder."""

import io
import tarfile
from pathlib import Path

import pytest

from realfeatures.errors import CorruptObjectError
from realfeatures.store.archives import pack, unpack


def archive(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w") as tar:
        for member in members:
            member.size = 1 if member.isreg() else 0
            tar.addfile(member, io.BytesIO(b"x"))
    return path


def link(name: str, target: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.SYMTYPE, target
    return member


def test_what_was_packed_comes_back_and_equal_content_is_equal_bytes(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name / "below").mkdir(parents=True)
        (tmp_path / name / "below" / "file").write_text("text")
        pack(tmp_path / name, tmp_path / f"{name}.tar")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    unpack(tmp_path / "a.tar", tmp_path / "c")
    assert (tmp_path / "c" / "below" / "file").read_text() == "text"


@pytest.mark.parametrize(
    "member",
    [tarfile.TarInfo("../outside"), tarfile.TarInfo("/outside"), link("inside", "../outside")],
    ids=lambda member: member.name,
)
def test_a_member_that_is_not_a_file_below_the_folder_is_refused(member, tmp_path):
    with pytest.raises(CorruptObjectError, match="not an archive of an artifact"):
        unpack(archive(tmp_path / "evil.tar", member), tmp_path / "in" / "here")
    assert not list(tmp_path.rglob("outside"))


@pytest.mark.parametrize("content", [b"", b"junk"], ids=["empty", "junk"])
def test_what_is_no_archive_is_refused(content, tmp_path):
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(CorruptObjectError):
        unpack(tmp_path / "a.tar", tmp_path / "here")

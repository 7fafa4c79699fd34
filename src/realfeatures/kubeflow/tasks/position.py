"""What a task's child leaves for its parent to read when it is dead: where it was, and why it gave up."""

import mmap
import os
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Self

VARIABLE = "REALFEATURES_POSITION"
"""Environment variable with the descriptor of the shared memory."""

_PLACE = struct.Struct("=QQ")
_REASON = struct.Struct("=1000s")
_BYTES = _PLACE.size + _REASON.size


class Position:
    """The cell and the step that a child has come to, both 0 at its start, and what it failed for."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._shared = mmap.mmap(descriptor, _BYTES)

    @classmethod
    @contextmanager
    def create(cls) -> Iterator[Self]:
        """Yield one of the parent's own."""
        descriptor = os.memfd_create("position", 0)
        try:
            os.ftruncate(descriptor, _BYTES)
            yield cls(descriptor)
        finally:
            os.close(descriptor)

    @classmethod
    def inherited(cls) -> "Position | None":
        """Return the parent's; None where no parent watches."""
        descriptor = os.environ.get(VARIABLE)
        return None if descriptor is None else cls(int(descriptor))

    def environment(self) -> Mapping[str, str]:
        """Return what a child finds it by, which must also be passed the descriptor."""
        return {VARIABLE: str(self.descriptor)}

    def clear(self) -> None:
        """Forget what an earlier child left."""
        self._shared[:] = bytes(_BYTES)

    def write(self, cell: int, step: int) -> None:
        """Note where the child is."""
        _PLACE.pack_into(self._shared, 0, cell, step)

    def tell(self, reason: str) -> None:
        """Note why the child gives up, in one line."""
        _REASON.pack_into(self._shared, _PLACE.size, reason.encode())

    def read(self) -> tuple[int, int]:
        """Return cell and step."""
        cell, step = _PLACE.unpack_from(self._shared, 0)
        return cell, step

    def reason(self) -> str:
        """Return why the child gave up; empty: it did not say."""
        (text,) = _REASON.unpack_from(self._shared, _PLACE.size)
        return str(text.rstrip(b"\0"), errors="replace")

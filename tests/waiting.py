"""Waiting in tests for what another process does."""

import time
from collections.abc import Callable


def wait_for(condition: Callable[[], object], *, seconds: float = 120.0) -> None:
    """Return once a condition holds; fail after so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)

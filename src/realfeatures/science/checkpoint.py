"""Checkpoints: the state of a running stage, so that it resumes to the very bytes it would have had.

A checkpoint is one safetensors file: tensors as tensors, the tree around them as JSON in its header.
Nothing is unpickled. It is written whole, at most every `interval_seconds` and when a stop is asked for.
"""

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from realfeatures.errors import Interrupted
from realfeatures.science.artifacts import write_bytes

logger = logging.getLogger(__name__)

INTERVAL_SECONDS = 20.0
"""chosen: what a kill -9 may cost."""

LARGEST_SHARE = 0.05
"""chosen: of the time that may go into saving; a large model, whose state takes seconds to write, is saved less."""


class Mirror(Protocol):
    """A twin of the checkpoint's file that outlives this disk."""

    def fetch(self, path: Path) -> None:
        """Write the twin to the file, where there is one.

        Raises:
            StorageError: it cannot be told whether there is one.
        """

    def push(self, path: Path) -> None:
        """Replace the twin by the file, or warn of what keeps it from that."""

    def discard(self) -> None:
        """Remove the twin, or warn of what keeps it from that."""


class Checkpoint:
    """The one checkpoint of a running stage.

    Args:
        path: the file; its folder is made when first needed. None keeps nothing, as a short test wants.
        stop: asked at every `step`; once true, the state is saved and Interrupted is raised.
        interval_seconds: time between saves.
        mirror: where the file has a twin, which is taken where there is no file.
    """

    def __init__(
        self,
        path: Path | None = None,
        *,
        stop: Callable[[], bool] = lambda: False,
        interval_seconds: float = INTERVAL_SECONDS,
        mirror: Mirror | None = None,
    ) -> None:
        self.path = path
        self.mirror = mirror
        self.resumed = False
        """Whether `load` found a state."""
        self.stop = stop
        self.interval_seconds = interval_seconds
        self.saved_at = time.monotonic()
        self.saving_seconds = 0.0

    def load(self) -> Any | None:
        """Return the saved state on the CPU, or None where there is none that can be read."""
        if self.path is None:
            return None
        if self.mirror is not None and not self.path.exists():
            self.mirror.fetch(self.path)
        if not self.path.exists():
            return None
        try:
            with safe_open(self.path, framework="pt") as file:
                tree = json.loads(file.metadata()["tree"])
                state = _unpack(tree, {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            logger.warning("%s cannot be read (%s); the stage starts over", self.path, error)
            return None
        self.resumed = True
        return state

    def step(self, state: Callable[[], Any]) -> None:
        """Save `state()` if it is time to; called between two steps of a stage's loop.

        Args:
            state: makes a tree of dicts, lists, numbers, strings and tensors; called only when it is saved.

        Raises:
            Interrupted: a stop was asked for; the state is saved.
        """
        stopping = self.stop()
        pause = max(self.interval_seconds, self.saving_seconds / LARGEST_SHARE)
        if stopping or time.monotonic() - self.saved_at >= pause:
            self.save(state)
        if stopping:
            raise Interrupted("stopped after its checkpoint; run the same command to go on")

    def save(self, state: Callable[[], Any]) -> None:
        """Save a state now."""
        started = time.monotonic()
        if self.path is not None:
            tensors: dict[str, torch.Tensor] = {}
            tree = _pack(state(), tensors, "state")
            write_bytes(self.path, save(tensors, metadata={"tree": json.dumps(tree)}))
            if self.mirror is not None:
                self.mirror.push(self.path)
        self.saved_at = time.monotonic()
        self.saving_seconds = self.saved_at - started


def _pack(value: Any, tensors: dict[str, torch.Tensor], path: str) -> Any:
    """Return `value` as JSON, its tensors moved to `tensors` and dicts as pairs, since their keys may be numbers."""
    if isinstance(value, torch.Tensor):
        # A copy: tensors that share memory cannot be saved, and the training goes on with the original.
        tensors[path] = value.detach().to("cpu", copy=True).contiguous()
        return {"tensor": path}
    if isinstance(value, dict):
        return {"pairs": [[key, _pack(item, tensors, f"{path}.{key}")] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return [_pack(item, tensors, f"{path}.{index}") for index, item in enumerate(value)]
    return value


def _unpack(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, dict):
        if "tensor" in value:
            return tensors[value["tensor"]]
        return {key: _unpack(item, tensors) for key, item in value["pairs"]}
    if isinstance(value, list):
        return [_unpack(item, tensors) for item in value]
    return value

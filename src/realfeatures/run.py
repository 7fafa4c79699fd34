"""What a stage is given besides its configuration and its inputs: seed, device, precision, checkpoint, progress."""

import hashlib
import platform
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import torch

from realfeatures.checkpoint import Checkpoint
from realfeatures.config import RuntimeConfig
from realfeatures.errors import ConfigError

ProgressCallback = Callable[[int, int], None]


def no_progress(done: int, total: int) -> None:
    """Tell nobody."""


@dataclass(kw_only=True)
class Run:
    """The surroundings of one stage."""

    seed: int
    runtime: RuntimeConfig = field(default_factory=lambda: RuntimeConfig(device="cpu"))
    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    progress: ProgressCallback = no_progress
    memory_format: ClassVar[torch.memory_format] = torch.channels_last
    """Of images and convolutions: the tensor cores' own, and on a CPU 1.2 times faster for 8x8 images in float32
    and 2 to 3 times with bfloat16."""
    """Told how many of a stage's steps are done."""

    @property
    def device(self) -> torch.device:
        """The device that the stage computes on."""
        return torch.device(self.runtime.device)

    def generator(self, purpose: str) -> torch.Generator:
        """Return a new generator on the device, seeded by the cell's seed and by what it is for."""
        digest = hashlib.sha256(f"{self.seed}/{purpose}".encode()).digest()
        return torch.Generator(self.device).manual_seed(int.from_bytes(digest[:8], "big") >> 1)

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context of mixed precision, or an empty one in float32."""
        if self.runtime.precision == "float32":
            return nullcontext()
        return torch.autocast(self.runtime.device, dtype=torch.bfloat16)

    def start(self) -> None:
        """Set what is global in torch: threads, determinism, and the seed of weight initialisation.

        Raises:
            ConfigError: the device is not there.
        """
        if self.runtime.device == "cuda" and not torch.cuda.is_available():
            raise ConfigError("runtime.device=cuda: torch finds no CUDA device; use --set runtime.device=cpu")
        torch.set_num_threads(self.runtime.threads)
        # warn_only: a few CUDA kernels have no deterministic form; on a CPU all that is used here has.
        torch.use_deterministic_algorithms(True, warn_only=self.runtime.device == "cuda")
        # Filling fresh memory guards against reading it unset, which nothing here does; it cost a training 7 %.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        # The fused inference path of attention differs in the last bits from the one used for gradients.
        torch.backends.mha.set_fastpath_enabled(False)
        torch.manual_seed(self.seed)

    def processor(self) -> str:
        """Return the name of the CPU or GPU that the stage computes on."""
        if self.runtime.device == "cuda":
            return torch.cuda.get_device_name()
        try:
            lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        except OSError:  # not Linux
            lines = []
        names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
        return next(names, "") or platform.processor() or platform.machine()

"""What a stage is given besides its configuration and its inputs: seed, device, precision, checkpoint, progress."""

import hashlib
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from realfeatures.errors import ConfigError
from realfeatures.experiment.config import RuntimeConfig
from realfeatures.science.checkpoint import Checkpoint

ProgressCallback = Callable[[int, int], None]


def no_progress(done: int, total: int) -> None:
    """Tell nobody."""


def require_cuda() -> None:
    """Refuse to go on without a CUDA device.

    Raises:
        ConfigError: torch finds none.
    """
    if not torch.cuda.is_available():
        raise ConfigError("runtime.device=cuda: torch finds no CUDA device; use --set runtime.device=cpu")


@dataclass(kw_only=True)
class Run:
    """The surroundings of one stage."""

    seed: int
    runtime: RuntimeConfig = field(default_factory=lambda: RuntimeConfig(device="cpu"))
    checkpoint: Checkpoint = field(default_factory=Checkpoint)
    progress: ProgressCallback = no_progress
    """Told how many of a stage's steps are done."""
    memory_format: ClassVar[torch.memory_format] = torch.channels_last
    """Of images and convolutions: the tensor cores' own; `make bench` shows what it gives on a CPU."""

    @property
    def device(self) -> torch.device:
        """The device that the stage computes on."""
        return torch.device(self.runtime.device)

    def generator(self, purpose: str) -> torch.Generator:
        """Return a new generator on the device, seeded by the cell's seed and by what it is for."""
        digest = hashlib.sha256(f"{self.seed}/{purpose}".encode()).digest()
        return torch.Generator(self.device).manual_seed(int.from_bytes(digest[:8], "big") >> 1)

    def mixed(self, module: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """Return the module in the run's precision, with a float32 result.

        Only networks run under autocast: it would take the matrix product of a contrastive loss, and the resampling
        of an augmentation, for part of one.
        """
        if self.runtime.precision == "float32":
            return module

        def forward(*inputs: Tensor) -> Tensor:
            with torch.autocast(self.runtime.device, dtype=torch.bfloat16):
                return module(*inputs).float()

        return forward

    def start(self) -> None:
        """Set what is global in torch: threads, determinism, and the seed of weight initialisation.

        Raises:
            ConfigError: the device is not there.
        """
        if self.runtime.device == "cuda":
            require_cuda()
        torch.set_num_threads(self.runtime.threads)
        # float32 means float32: TF32's ten bits of mantissa would reach probes and attacks.
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
        # cuBLAS is deterministic only with a workspace of its own, chosen before its first call.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
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

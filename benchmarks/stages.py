"""How fast each stage is: images/s and FLOP/s of its inner loop, and what our choices are worth, as ratios in one run.

    make bench                                      the cifar10-small preset on this machine
    make bench BENCH="--preset cifar10-gpu --peak 989e12"   an H100, whose bfloat16 peak is 989 TFLOP/s

Images are random: speed does not depend on what they show. Every figure is the median of several
timings of the same steps after a warm-up; a ratio compares two such medians that were taken in turn.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.table import Table

from realfeatures.experiment import about
from realfeatures.experiment.grid import Cell
from realfeatures.experiment.presets import PRESETS, load_preset
from realfeatures.experiment.vocabulary import Config
from realfeatures.running.cost import INPUT_GRADIENT, estimate, forward_flops
from realfeatures.science import paradigms
from realfeatures.science.attacks.pgd import Ball, pgd
from realfeatures.science.context import Run
from realfeatures.science.data.decoded import Sizes
from realfeatures.science.data.images import ImageSet, to_float
from realfeatures.science.data.sources import describe_source
from realfeatures.science.models.resnet import fold_batch_norm
from realfeatures.science.paradigms.base import ImageShape, WithHead, frozen, place

STEPS = 4
"""Steps of each timing: enough to hide the start of a stage, few enough for a U-Net on a CPU."""
STANDARD = {"ball": Ball("L2", 0.5), "step_size": 0.1, "steps": STEPS}


@dataclass(frozen=True)
class Speed:
    """What one stage reached."""

    name: str
    images_per_second: float
    flops_per_second: float


def main() -> None:
    """Measure every stage of a preset and print two tables."""
    arguments = _arguments()
    preset = load_preset(arguments.preset, arguments.set)
    info = describe_source(preset.data) if preset.data.source == "digits" else Sizes(50_000, 10_000, 3, 32, 32, 10)
    run = Run(seed=0, runtime=preset.runtime)
    run.start()
    console = Console()
    console.print(
        f"{run.processor()}, torch {torch.__version__}, {preset.runtime.threads} thread(s), preset {preset.name}"
    )
    table = Table("stage", "precision", "images/s", "GFLOP/s", "share of peak")
    for name in ("supervised", "adversarial", "contrastive", "masked", "diffusion"):
        speed = _pretraining(name, getattr(preset, name), run, info, arguments.repeats)
        _row(table, speed, preset.runtime.precision, arguments.peak)
    for name in ("supervised", "contrastive", "masked", "diffusion"):
        speed = _attack(name, getattr(preset, name), run, info, arguments.repeats)
        _row(table, speed, "float32", arguments.peak)
    console.print(table)
    ratios = Table("choice", "against", "on", "times as fast")
    for row in _ratios(preset.supervised, run, info, arguments.repeats):
        ratios.add_row(*row)
    console.print(ratios)


def _pretraining(name: str, config: Config, run: Run, info: Sizes, repeats: int) -> Speed:
    """Time STEPS steps of a paradigm's own training loop, start-up included."""
    batch = min(config.optimizer.batch_size, info.train)
    images = _images(STEPS * batch, info, run)
    short = config.model_copy(
        update={"optimizer": config.optimizer.model_copy(update={"epochs": 1, "warmup_epochs": 0})}
    )
    seconds = _median_seconds(lambda: paradigms.pretrain(short, images, run), repeats, run)
    few = Sizes(len(images), info.test, info.channels, info.height, info.width, info.classes)
    cell = Cell(key="", stage="pretrain", config=short, seed=0, run_seed=0, **vars(about.source(name)))
    flops = estimate(cell, None, few).flops
    return Speed(f"pretrain {name}", len(images) / seconds, flops / seconds)


def _attack(name: str, config: Config, run: Run, info: Sizes, repeats: int) -> Speed:
    """Time PGD on a frozen classifier: what attacks and synthesis spend their time in."""
    model = _classifier(name, config, run, info)
    images = _images(128, info, run)
    attack = _pgd_of(model, images, run)
    seconds = _median_seconds(attack, repeats, run) / STEPS
    flops = INPUT_GRADIENT * forward_flops(config, info) * len(images)
    return Speed(f"PGD step {name}", len(images) / seconds, flops / seconds)


def _ratios(config: Config, run: Run, info: Sizes, repeats: int) -> list[tuple[str, str, str, str]]:
    images = _images(128, info, run)
    torch.manual_seed(0)
    plain = _classifier("supervised", config, run, info, fold=False)
    folded = _classifier("supervised", config, run, info)
    rows = [("BatchNorm folded", "kept", "PGD step", _pgd_of(folded, images, run), _pgd_of(plain, images, run))]
    contiguous = _classifier("supervised", config, run, info).to(memory_format=torch.contiguous_format)
    rows.append(
        ("channels last", "contiguous", "PGD step", _pgd_of(folded, images, run), _pgd_of(contiguous, images, run))
    )
    return [
        (choice, other, on, f"{_ratio(ours, theirs, repeats, run):.2f}") for choice, other, on, ours, theirs in rows
    ]


def _pgd_of(model: torch.nn.Module, images: ImageSet, run: Run) -> Callable[[], object]:
    floats = to_float(images.images)
    return lambda: pgd(model, floats, images.labels, **STANDARD, generator=run.generator("bench"))


def _classifier(name: str, config: Config, run: Run, info: Sizes, *, fold: bool = True) -> torch.nn.Module:
    shape = ImageShape(info.channels, info.height, info.width)
    encoder = frozen(paradigms.PARADIGMS[name].build(config, shape))
    encoder = place(fold_batch_norm(encoder) if fold else encoder, run)
    head = torch.nn.Linear(encoder.dimension, info.classes, device=run.device)
    return frozen(WithHead(encoder, head))


def _images(count: int, info: Sizes, run: Run) -> ImageSet:
    generator = torch.Generator().manual_seed(0)
    shape = (count, info.channels, info.height, info.width)
    images = torch.randint(256, shape, generator=generator, dtype=torch.uint8)
    labels = torch.arange(count) % info.classes
    return ImageSet(images, labels, tuple(str(label) for label in range(info.classes))).to(run.device)


def _median_seconds(work: Callable[[], object], repeats: int, run: Run) -> float:
    work()
    return statistics.median(_seconds(work, run) for _ in range(repeats))


def _ratio(ours: Callable[[], object], theirs: Callable[[], object], repeats: int, run: Run) -> float:
    ours(), theirs()
    pairs = [(_seconds(ours, run), _seconds(theirs, run)) for _ in range(repeats)]
    return statistics.median(theirs_took / ours_took for ours_took, theirs_took in pairs)


def _seconds(work: Callable[[], object], run: Run) -> float:
    _wait(run)
    started = time.perf_counter()
    work()
    _wait(run)
    return time.perf_counter() - started


def _wait(run: Run) -> None:
    if run.device.type == "cuda":
        torch.cuda.synchronize()


def _row(table: Table, speed: Speed, precision: str, peak: float | None) -> None:
    share = "-" if peak is None else f"{100 * speed.flops_per_second / peak:.1f} %"
    table.add_row(
        speed.name, precision, f"{speed.images_per_second:,.0f}", f"{speed.flops_per_second / 1e9:,.1f}", share
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="cifar10-small", choices=PRESETS)
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override a value of the preset"
    )
    parser.add_argument("--repeats", type=int, default=5, help="timings of each figure (default 5)")
    parser.add_argument("--peak", type=float, help="the device's FLOP/s, for the last column")
    return parser.parse_args()


if __name__ == "__main__":
    main()

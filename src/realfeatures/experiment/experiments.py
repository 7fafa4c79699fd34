"""Which accuracies each experiment of the paper wants, as data; grid.py makes the cells that they are read from.

E1 to E6 are the paper's (arXiv 2310.18936) and Ilyas et al.'s (arXiv 1905.02175); the decomposition and the controls
go beyond them. Imports neither torch nor kfp.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

from realfeatures.experiment.config import Preset
from realfeatures.experiment.measurement import Measurement, matched, probed
from realfeatures.experiment.vocabulary import (
    ADVERSARIAL,
    AUGMENTED,
    CONSTRUCTED,
    NON_ROBUST_OF,
    NONE,
    STANDARD,
    UNTRAINED,
    Control,
    Experiment,
    Features,
    Paradigm,
    Protocol,
    Readout,
)


class Depth(IntEnum):
    """How hard a cell is attacked; each depth includes those before it."""

    CLEAN = 0
    PGD = 1
    AUTOATTACK = 2
    """AutoAttack costs most of a run: only E2 asks for it. The signs of gradient masking come with it."""


@dataclass(frozen=True)
class Want:
    """A clean accuracy that experiments want, and how hard the same classifier is attacked."""

    measurement: Measurement
    depth: Depth = Depth.CLEAN
    experiments: tuple[Experiment, ...] = ()


def wants(preset: Preset) -> list[Want]:
    """Return all that the preset's experiments want; what several want is one want, as deep as the deepest."""
    known: dict[Measurement, Want] = {}
    for experiment in Experiment:
        if experiment in preset.experiments and experiment in _WANTS:
            for want in _WANTS[experiment](preset):
                before = known.get(want.measurement, want)
                depth = max(before.depth, want.depth)
                wanting = tuple(dict.fromkeys((*before.experiments, experiment)))
                known[want.measurement] = Want(want.measurement, depth, wanting)
    return list(known.values())


def maker_of(features: str, preset: Preset) -> str:
    """Return whose encoder a set is made from: a paradigm's natural one, or a source, `adversarial` or `standard`."""
    if features == Features.ROBUST:
        return ADVERSARIAL
    maker = next((one for one, made in NON_ROBUST_OF.items() if made == features), Paradigm.SUPERVISED)
    return STANDARD if maker is Paradigm.SUPERVISED and preset.standard is not None else maker


def _self_supervised(preset: Preset) -> list[Paradigm]:
    return [paradigm for paradigm in preset.paradigms if paradigm is not Paradigm.SUPERVISED]


def _usefulness(preset: Preset) -> Iterator[Want]:
    for features in preset.features:
        for paradigm in preset.paradigms:
            yield Want(matched(paradigm, features))
            yield Want(probed(paradigm, features, Features.NATURAL))
    yield from _learned_nothing(preset.paradigms)


def _learned_nothing(paradigms: Sequence[Paradigm]) -> Iterator[Want]:
    """What a probe on natural images reaches without pretraining: no claim is judged without it."""
    yield Want(probed(Control.PIXELS, NONE, Features.NATURAL))
    for paradigm in paradigms:
        yield Want(probed(paradigm, UNTRAINED, Features.NATURAL))


def _robustness(preset: Preset) -> Iterator[Want]:
    if Features.ROBUST in preset.features:
        yield Want(matched(ADVERSARIAL, Features.NATURAL), Depth.AUTOATTACK)
    for features in preset.features:
        for paradigm in preset.paradigms:
            yield Want(matched(paradigm, features), Depth.AUTOATTACK)
            if Features.ROBUST in preset.features:
                yield Want(matched(paradigm, features, protocol=Protocol.ROBUST_SET), Depth.AUTOATTACK)


def _cross_paradigm(preset: Preset) -> Iterator[Want]:
    for source, features in NON_ROBUST_OF.items():
        if source in preset.paradigms:
            for target in preset.paradigms:
                yield Want(matched(target, features))
    yield from (Want(matched(paradigm, Features.NATURAL)) for paradigm in preset.paradigms)
    yield from _learned_nothing(preset.paradigms)


def _augmented_probes(preset: Preset) -> Iterator[Want]:
    for features in preset.features:
        if features in (Features.NATURAL, Features.ROBUST):
            for paradigm in _self_supervised(preset):
                for readout in (Readout.LINEAR_PROBE, *AUGMENTED):
                    yield Want(matched(paradigm, features, readout=readout), Depth.PGD)
    if Features.ROBUST in preset.features:
        # A model that withstands these attacks, without which a low robust accuracy says little (claim C7).
        yield Want(matched(ADVERSARIAL, Features.NATURAL), Depth.PGD)
    yield from _learned_nothing(preset.paradigms)


def _constructed_sets(preset: Preset) -> Iterator[Want]:
    for features in (*preset.features, *CONSTRUCTED):
        yield Want(matched(Paradigm.SUPERVISED, features), Depth.PGD)
    yield from _learned_nothing([Paradigm.SUPERVISED])


def _decomposition(preset: Preset) -> Iterator[Want]:
    """{encoder on natural, on X, untrained, raw pixels} x {probe on natural, on X}, every one by a linear probe."""
    for features in preset.features:
        yield Want(probed(Control.PIXELS, NONE, features), Depth.PGD)
        for paradigm in preset.paradigms:
            for encoder in dict.fromkeys((features, Features.NATURAL, UNTRAINED)):
                yield Want(probed(paradigm, encoder, features), Depth.PGD)
            yield Want(probed(paradigm, features, Features.NATURAL), Depth.PGD)


def _controls(preset: Preset) -> Iterator[Want]:
    for features in preset.features:
        for paradigm in preset.paradigms:
            yield Want(matched(paradigm, features), Depth.PGD)
            yield Want(matched(paradigm, features, readout=Readout.KNN))
    if Paradigm.DIFFUSION in preset.paradigms:
        for timestep in preset.timesteps:
            yield Want(matched(Paradigm.DIFFUSION, Features.NATURAL, timestep=timestep), Depth.PGD)


_WANTS: dict[Experiment, Callable[[Preset], Iterator[Want]]] = {
    Experiment.E1: _usefulness,
    Experiment.E2: _robustness,
    Experiment.E3: _cross_paradigm,
    Experiment.E4: _augmented_probes,
    Experiment.E6: _constructed_sets,
    Experiment.DECOMPOSITION: _decomposition,
    Experiment.CONTROLS: _controls,
}
"""E5 measures no accuracy of its own: grid.py adds its two stages."""

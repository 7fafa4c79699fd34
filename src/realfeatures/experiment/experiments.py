"""Which accuracies each experiment of the paper wants, as data; grid.py makes the cells that they are read from.

E1 to E6 are the paper's (arXiv 2310.18936) and Ilyas et al.'s (arXiv 1905.02175); the decomposition and the controls
go beyond them. Imports neither torch nor kfp.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

from realfeatures.experiment.config import Preset
from realfeatures.experiment.vocabulary import (
    ADVERSARIAL,
    NON_ROBUST_OF,
    STANDARD,
    UNTRAINED,
    Control,
    Experiment,
    Features,
    Paradigm,
    Protocol,
    Readout,
)

NONE = "none"
"""The training set of raw pixels, which have none."""


CONSTRUCTED = (Features.D_DET, Features.SHUFFLED, Features.D_RAND_LABELS, Features.NON_ROBUST_NOISE)
"""The sets that E6 adds: D_det, and controls whose labels or start images are broken."""


class Depth(IntEnum):
    """How hard a cell is attacked; each depth includes those before it."""

    CLEAN = 0
    PGD = 1
    AUTOATTACK = 2
    """AutoAttack costs most of a run: only E2 asks for it. The signs of gradient masking come with it."""


@dataclass(frozen=True, kw_only=True)
class Want:
    """An accuracy that experiments want: of which encoder, read out how, attacked from where and how hard."""

    paradigm: str
    features: str
    """What the encoder was trained on."""
    probe_features: Features
    readout: Readout
    depth: Depth = Depth.CLEAN
    protocol: Protocol = Protocol.NATURAL
    timestep: int | None = None
    """Of a diffusion encoder, where it is not the configured one."""
    experiments: tuple[Experiment, ...] = ()

    @property
    def folder(self) -> str:
        """The part of a key that names the encoder."""
        if self.paradigm == ADVERSARIAL:
            return "sources/adversarial"
        name = f"{'controls' if self.features == NONE else self.features}/{self.paradigm}"
        return name if self.timestep is None else f"{name}/timestep{self.timestep}"

    @property
    def reading(self) -> str:
        """The part of a key that names the probe: `probe`, or the way in which it departs from the standard one."""
        return self.readout.removeprefix("linear_")

    @property
    def measurement(self) -> str:
        """The part of a key that names the measurement."""
        if self.readout is Readout.KNN:
            return "knn"
        # The standard readout of a matched supervised encoder is its own head; its probe stands beside it.
        beside = (
            self.readout is Readout.LINEAR_PROBE
            and standard_readout(self.paradigm, self.features, self.probe_features) is Readout.OWN_HEAD
        )
        standard = self.readout in (Readout.OWN_HEAD, Readout.LINEAR_PROBE) and not beside
        name = "attack" if standard else f"{self.reading}/attack"
        return name if self.protocol is Protocol.NATURAL else f"{name}_from_{self.protocol}"

    @property
    def labels(self) -> dict[str, str | int]:
        """What the report calls it."""
        timestep = {} if self.timestep is None else {"timestep": self.timestep}
        return {
            "paradigm": self.paradigm,
            "features": self.features,
            "probe_features": self.probe_features,
            "readout": self.readout if self.timestep is None else f"{self.readout}_t{self.timestep}",
            "protocol": self.protocol,
            "experiments": " ".join(self.experiments),
            **timestep,
        }


def wants(preset: Preset) -> list[Want]:
    """Return all that the preset's experiments want; what several want is one want, as deep as the deepest."""
    found: dict[Want, Want] = {}
    for experiment in Experiment:
        if experiment in preset.experiments and experiment in _WANTS:
            for want in _WANTS[experiment](preset):
                bare = replace(want, depth=Depth.CLEAN)
                known = found.get(bare, bare)
                depth = max(known.depth, want.depth)
                wanting = dict.fromkeys((*known.experiments, experiment))
                found[bare] = replace(known, depth=depth, experiments=tuple(wanting))
    return list(found.values())


def maker_of(features: str, preset: Preset) -> str:
    """Return whose encoder a set is made from: a paradigm's natural one, or a source, `adversarial` or `standard`."""
    if features == Features.ROBUST:
        return ADVERSARIAL
    maker = next((one for one, made in NON_ROBUST_OF.items() if made == features), Paradigm.SUPERVISED)
    return STANDARD if maker is Paradigm.SUPERVISED and preset.standard is not None else maker


def standard_readout(paradigm: str, features: str, probe_features: str) -> Readout:
    """Return how classes are read out where nothing else is said: a supervised model by its own head."""
    own = paradigm in (Paradigm.SUPERVISED, ADVERSARIAL) and features == probe_features
    return Readout.OWN_HEAD if own else Readout.LINEAR_PROBE


def matched(paradigm: str, features: Features, *, depth: Depth = Depth.CLEAN) -> Want:
    """Return the want of an encoder and a readout that saw the same set."""
    readout = standard_readout(paradigm, features, features)
    return Want(paradigm=paradigm, features=features, probe_features=features, readout=readout, depth=depth)


def _linear(paradigm: str, features: str, probe_features: Features, *, depth: Depth = Depth.PGD) -> Want:
    return Want(
        paradigm=paradigm,
        features=features,
        probe_features=probe_features,
        readout=Readout.LINEAR_PROBE,
        depth=depth,
    )


def _self_supervised(preset: Preset) -> list[Paradigm]:
    return [paradigm for paradigm in preset.paradigms if paradigm is not Paradigm.SUPERVISED]


def _usefulness(preset: Preset) -> Iterator[Want]:
    for features in preset.features:
        for paradigm in preset.paradigms:
            yield matched(paradigm, features)
            yield _linear(paradigm, features, Features.NATURAL, depth=Depth.CLEAN)
    yield from _learned_nothing(preset.paradigms)


def _learned_nothing(paradigms: Sequence[Paradigm]) -> Iterator[Want]:
    """What a probe on natural images reaches without pretraining: no claim is judged without it."""
    yield _linear(Control.PIXELS, NONE, Features.NATURAL, depth=Depth.CLEAN)
    for paradigm in paradigms:
        yield _linear(paradigm, UNTRAINED, Features.NATURAL, depth=Depth.CLEAN)


def _robustness(preset: Preset) -> Iterator[Want]:
    if Features.ROBUST in preset.features:
        yield matched(ADVERSARIAL, Features.NATURAL, depth=Depth.AUTOATTACK)
    for features in preset.features:
        for paradigm in preset.paradigms:
            want = matched(paradigm, features, depth=Depth.AUTOATTACK)
            yield want
            if Features.ROBUST in preset.features:
                yield replace(want, protocol=Protocol.ROBUST_SET)


def _cross_paradigm(preset: Preset) -> Iterator[Want]:
    for source, features in NON_ROBUST_OF.items():
        if source in preset.paradigms:
            for target in preset.paradigms:
                yield matched(target, features)
    yield from (matched(paradigm, Features.NATURAL) for paradigm in preset.paradigms)
    yield from _learned_nothing(preset.paradigms)


def _augmented_probes(preset: Preset) -> Iterator[Want]:
    for features in preset.features:
        if features in (Features.NATURAL, Features.ROBUST):
            for paradigm in _self_supervised(preset):
                want = matched(paradigm, features, depth=Depth.PGD)
                for readout in (Readout.LINEAR_PROBE, Readout.CROP_FLIP, Readout.SIMCLR, Readout.NOISE):
                    yield replace(want, readout=readout)
    if Features.ROBUST in preset.features:
        # A model that withstands these attacks, without which a low robust accuracy says little (claim C7).
        yield matched(ADVERSARIAL, Features.NATURAL, depth=Depth.PGD)
    yield from _learned_nothing(preset.paradigms)


def _constructed_sets(preset: Preset) -> Iterator[Want]:
    for features in (*preset.features, *CONSTRUCTED):
        yield matched(Paradigm.SUPERVISED, features, depth=Depth.PGD)
    yield from _learned_nothing([Paradigm.SUPERVISED])


def _decomposition(preset: Preset) -> Iterator[Want]:
    """{encoder on natural, on X, untrained, raw pixels} x {probe on natural, on X}, every one by a linear probe."""
    for features in preset.features:
        yield _linear(Control.PIXELS, NONE, features)
        for paradigm in preset.paradigms:
            for encoder in dict.fromkeys((features, Features.NATURAL, UNTRAINED)):
                yield _linear(paradigm, encoder, features)
            yield _linear(paradigm, features, Features.NATURAL)


def _controls(preset: Preset) -> Iterator[Want]:
    for features in preset.features:
        for paradigm in preset.paradigms:
            want = matched(paradigm, features, depth=Depth.PGD)
            yield want
            yield replace(want, readout=Readout.KNN, depth=Depth.CLEAN)
    if Paradigm.DIFFUSION in preset.paradigms:
        for timestep in preset.timesteps:
            want = matched(Paradigm.DIFFUSION, Features.NATURAL, depth=Depth.PGD)
            yield replace(want, timestep=timestep)


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

"""What a cell is about, and what a person calls it: its title, a short one for small boxes, and the group it is in."""

from dataclasses import dataclass
from enum import StrEnum

from realfeatures.experiment.config import AttackConfig
from realfeatures.experiment.experiments import Want
from realfeatures.experiment.measurement import Measurement
from realfeatures.experiment.vocabulary import (
    ADVERSARIAL,
    AUGMENTED,
    CONSTRUCTED,
    NONE,
    STANDARD,
    UNTRAINED,
    Experiment,
    Features,
    Paradigm,
    Protocol,
    Readout,
)


class Role(StrEnum):
    """What a cell is for."""

    DATA = "data"
    IMAGES = "images"
    SOURCE = "source"
    """Trains a model that crafted sets alone are made with."""
    ENCODER = "encoder"
    PROBE = "probe"
    ATTACK = "attack"
    """Measures accuracies, clean ones too."""
    KNN = "knn"
    TRANSFER = "transfer"
    LOSS_CURVES = "loss_curves"


SHOWN = 18
"""Characters of a title that Kubeflow's boxes show."""

MEASURED_ROLES = (Role.ATTACK, Role.KNN)
"""Roles whose cells measure accuracies."""


@dataclass(frozen=True, kw_only=True)
class About:
    """What a cell is about; no part of its address."""

    role: Role
    title: str
    """What a person reads on the cell, such as `contrastive on robust: probe on natural`."""
    short: str
    """As that, within its group and in at most SHOWN characters; no two in a group are equal."""
    group: str
    """What the cells that belong together are called."""
    paradigm: str | None = None
    features: str | None = None
    """Of an encoder, and of what is read out of it: the set that it was trained on."""
    measurement: Measurement | None = None
    """Of a cell that measures, and of a probe: the clean accuracy that it is read for; None: it reads nothing out."""
    experiments: tuple[Experiment, ...] = ()


DATA_SET = About(role=Role.DATA, title="prepare data", short="data", group="image sets")


def images(features: Features) -> About:
    """Describe a crafted set."""
    title, code = f"make {_words(features)} images", _code(features)
    short = next(name for name in (f"{_words(features)} images", f"{code} images", code) if len(name) <= SHOWN)
    return About(role=Role.IMAGES, title=title, short=short, group="image sets", features=features)


def source(paradigm: str) -> About:
    """Describe a model that crafted sets alone are made with."""
    return About(
        role=Role.SOURCE,
        title=f"{paradigm}: train source",
        short=f"{paradigm} source",
        group="sources",
        paradigm=paradigm,
        features=Features.NATURAL,
    )


def encoder(paradigm: str, features: str, timestep: int | None = None) -> About:
    """Describe an encoder, read at a timestep where one is given."""
    title, short = f"{_encoder(paradigm, features)}: pretrain", f"{paradigm}: train"
    if features in CONSTRUCTED:
        short = f"{_code(features)} train"
    if features in (NONE, UNTRAINED):
        title, short = f"{_encoder(paradigm, features)}: take as it is", f"{_who(paradigm)} as it is"
    if timestep is not None:
        title, short = f"{_encoder(paradigm, features)} at {timestep}: read", f"{_who(paradigm)} t{timestep} read"
    return About(
        role=Role.ENCODER,
        title=title,
        short=short,
        group=_group(paradigm, features, timestep),
        paradigm=paradigm,
        features=features,
    )


def probe(want: Want) -> About:
    """Describe a linear classifier on an encoder."""
    read = want.measurement
    how = f"{_readout(read.readout)} on {_words(read.probe_features)}"
    return _read_out(want, Role.PROBE, title=how, short="probe")


def attack(want: Want, config: AttackConfig) -> About:
    """Describe a cell that measures accuracies, by the hardest of its attacks."""
    read = want.measurement
    how, short = ("PGD", "PGD") if config.pgd else ("accuracy", "acc")
    how, short = ("AutoAttack", "AA") if config.autoattack else (how, short)
    if read.readout == Readout.OWN_HEAD:
        short = "head"
    by = "own head" if short == "head" else f"{_readout(read.readout)} on {_words(read.probe_features)}"
    start = " from robust images" if read.protocol == Protocol.ROBUST_SET else ""
    return _read_out(want, Role.ATTACK, title=f"{how}, {by}{start}", short=short)


def neighbours(want: Want) -> About:
    """Describe a vote of nearest neighbours."""
    how = f"nearest neighbours of {_words(want.measurement.probe_features)}"
    return _read_out(want, Role.KNN, title=how, short="knn")


def transfer(features: Features) -> About:
    """Describe what adversarial examples of the paradigms' models do to one another."""
    return About(
        role=Role.TRANSFER,
        title=f"transfer between models of {_words(features)}",
        short=f"{_code(features)} transfer",
        group=_TRANSFER,
        features=features,
        experiments=(Experiment.E5,),
    )


def loss_curves(read: Measurement) -> About:
    """Describe the losses of a contrastive encoder while one of them is attacked."""
    return About(
        role=Role.LOSS_CURVES,
        title=f"loss curves of {_words(read.features)}",
        short=f"{_code(read.features)} curves",
        group=_TRANSFER,
        paradigm=read.paradigm,
        features=read.features,
        measurement=read,
        experiments=(Experiment.E5,),
    )


def encoder_name(paradigm: str, features: str) -> str:
    """Return what an encoder is called in at most SHOWN characters: `robust contrastive`, `n-rob masked`."""
    if features == NONE:
        return f"raw {paradigm}"
    if paradigm in (ADVERSARIAL, STANDARD):
        return paradigm
    names = [f"{code} {who}" for code in _set_names(features) for who in (paradigm, _who(paradigm))]
    return next((name for name in names if len(name) <= SHOWN), names[-1][:SHOWN])


def set_name(features: str) -> str:
    """Return what a set is called in at most SHOWN characters: `robust`, `n-rob contrastive`."""
    return next(name for name in _set_names(features) if len(name) <= SHOWN)


def _set_names(features: str) -> tuple[str, str, str]:
    """Return a set's names, the longest first."""
    code = _code(features)
    return _words(features), code, " ".join(map(_who, code.split(" ")))


_TRANSFER = "transfer of attacks"


def _read_out(want: Want, role: Role, *, title: str, short: str) -> About:
    read = want.measurement
    at = "" if read.timestep is None else f" at {read.timestep}"
    who = () if read.features in CONSTRUCTED else (_who(read.paradigm),)
    return About(
        role=role,
        title=f"{_encoder(read.paradigm, read.features)}{at}: {title}",
        short=" ".join((*who, _what_differs(read), short)),
        group=_group_of_readout(read),
        paradigm=read.paradigm,
        features=read.features,
        measurement=read,
        experiments=want.experiments,
    )


def _what_differs(read: Measurement) -> str:
    """Return, of a readout, the word that tells it from the others of its paradigm in its group."""
    if read.timestep is not None:
        return f"t{read.timestep}"
    if read.readout in AUGMENTED:
        return _readout(read.readout).removeprefix("crop-").removesuffix(" probe")
    spread = read.protocol == Protocol.ROBUST_SET or read.readout == Readout.KNN or read.features in CONSTRUCTED
    return "own" if read.matched and not spread else _code(read.probe_features)


def _group_of_readout(read: Measurement) -> str:
    if read.readout == Readout.KNN:
        return "nearest neighbours"
    if read.protocol == Protocol.ROBUST_SET:
        return "attacks from robust images"
    if read.readout in AUGMENTED:
        return f"{_words(read.features)}: augmented probes"
    if read.features == Features.NATURAL and not read.matched:
        # Apart from the other natural cells, which need not wait for the synthesis.
        return "natural: probes on crafted sets"
    return _group(read.paradigm, read.features, read.timestep)


def _group(paradigm: str, features: str, timestep: int | None) -> str:
    if timestep is not None:
        return "timesteps of diffusion encoders"
    if features in (NONE, UNTRAINED):
        small = paradigm not in (Paradigm.MASKED, Paradigm.DIFFUSION)
        return "raw pixels and untrained ResNets" if small else "untrained ViTs and U-Nets"
    if features in CONSTRUCTED:
        return "constructed sets: standard training"
    return f"{_words(features)}: evaluate"


def _encoder(paradigm: str, features: str) -> str:
    if features == NONE:
        return f"raw {paradigm}"
    return f"untrained {paradigm}" if features == UNTRAINED else f"{paradigm} on {_words(features)}"


def _readout(readout: str) -> str:
    """Return a linear readout in words: `probe`, `crop-flip probe`."""
    return f"{_words(readout.removeprefix('linear_probe').strip('_'))} probe".strip()


def _words(name: str) -> str:
    return name.replace("_", "-")


def _who(paradigm: str) -> str:
    """Return a paradigm in at most six letters."""
    return {"contrastive": "contr", "masked": "mask", "diffusion": "diff"}.get(paradigm, paradigm[:6])


def _code(features: str) -> str:
    """Return a set in few letters."""
    short = {"natural": "nat", "non_robust": "n-rob", "robust": "rob", "d_rand": "drand", "d_det": "ddet"}
    stem = next((name for name in short if features.startswith(name)), "")
    return f"{short.get(stem, '')}{features.removeprefix(stem)}".replace("_", " ")

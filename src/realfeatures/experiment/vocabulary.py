"""The field's terms as enums, the base of all configuration, and the digest of a value; imports no torch."""

import hashlib
import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict


class Paradigm(StrEnum):
    """How an encoder learns."""

    SUPERVISED = "supervised"
    CONTRASTIVE = "contrastive"
    MASKED = "masked"
    DIFFUSION = "diffusion"


class Control(StrEnum):
    """An encoder that learns nothing and has nothing to learn with: the image itself."""

    PIXELS = "pixels"


class Features(StrEnum):
    """The image sets, by the features that carry their labels (Ilyas et al. 2019, section 3).

    Beside those named here there is one for each paradigm but the supervised, such as `non_robust_masked`: as
    non_robust, made from that paradigm's encoder.
    """

    _ignore_ = "paradigm"

    NATURAL = "natural"
    ROBUST = "robust"
    NON_ROBUST = "non_robust"
    D_RAND = "d_rand"
    D_DET = "d_det"
    """As d_rand, towards the class after the image's own."""
    for paradigm in Paradigm:
        if paradigm is not Paradigm.SUPERVISED:
            vars()[f"NON_ROBUST_{paradigm.name}"] = f"non_robust_{paradigm}"
    NON_ROBUST_NOISE = "non_robust_noise"
    """As non_robust, started at noise in place of other images."""
    SHUFFLED = "shuffled"
    """Natural images with natural labels, shuffled."""
    D_RAND_LABELS = "d_rand_labels"
    """Natural images, unperturbed, with d_rand's labels."""


MAIN_FEATURES = (Features.NATURAL, Features.ROBUST, Features.NON_ROBUST, Features.D_RAND)
"""The sets that every paradigm is trained on, where a preset's `features` names them."""

NON_ROBUST_OF = {
    paradigm: Features.NON_ROBUST if paradigm is Paradigm.SUPERVISED else Features(f"non_robust_{paradigm}")
    for paradigm in Paradigm
}
"""The set of non-robust features that each paradigm's natural encoder makes."""

NONE = "none"
"""In place of a training set: raw pixels have none. In place of a norm: no attack."""

UNTRAINED = "untrained"
"""In place of a training set: a paradigm's encoder at its random initialisation."""

ADVERSARIAL = "adversarial"
"""In place of a paradigm: the source of robust features, which is compared with none."""

STANDARD = "standard"
"""In place of a paradigm: a classifier from outside as the source of non-robust features."""


class Experiment(StrEnum):
    """The parts of the paper, and the two that go beyond it, each a choice of cells."""

    E1 = "E1"
    """Usefulness: clean accuracy of every paradigm on every set."""
    E2 = "E2"
    """Robustness of the same cells under PGD and AutoAttack, started at natural and at robust images."""
    E3 = "E3"
    """Non-robust features of every paradigm, and every paradigm trained on them."""
    E4 = "E4"
    """Augmentation in the linear probe."""
    E5 = "E5"
    """What an attack on one loss does to the other, and to other paradigms' models."""
    E6 = "E6"
    """Standard training on each of Ilyas' sets, and on controls with broken labels or starts."""
    DECOMPOSITION = "decomposition"
    """Encoder and probe on different sets: which of the two loses the accuracy."""
    CONTROLS = "controls"
    """Nearest neighbours beside the probe, the timestep of a diffusion encoder, attacks without labels."""


CONSTRUCTED = (Features.D_DET, Features.SHUFFLED, Features.D_RAND_LABELS, Features.NON_ROBUST_NOISE)
"""The sets that E6 adds, for supervised encoders alone: D_det, and controls with broken labels or start images."""


class Readout(StrEnum):
    """What reads classes out of a representation."""

    OWN_HEAD = "own_head"
    """The linear classifier that a supervised encoder was trained with."""
    LINEAR_PROBE = "linear_probe"
    CROP_FLIP = "linear_probe_crop_flip"
    SIMCLR = "linear_probe_simclr"
    NOISE = "linear_probe_noise"
    KNN = "knn"


AUGMENTED = (Readout.CROP_FLIP, Readout.SIMCLR, Readout.NOISE)
"""Linear probes that are fitted to augmented images (E4)."""


class Protocol(StrEnum):
    """Where attacks start."""

    NATURAL = "natural"
    """At natural test images."""
    ROBUST_SET = "robust_set"
    """At images of the robust set, which are made from training images (issue 4 of the paper's released code)."""


class Attack(StrEnum):
    """What an accuracy was measured under."""

    NONE = "none"
    """Clean accuracy."""
    PGD = "pgd"
    AUTOATTACK = "autoattack"
    PGD_REPRESENTATION = "pgd_representation"
    """PGD that moves the representation, whatever the label."""


class Norm(StrEnum):
    """The norm of a threat model, spelled as AutoAttack spells it."""

    L2 = "L2"
    LINF = "Linf"


class Config(BaseModel):
    """A frozen piece of configuration: unknown keys are errors, equal content gives an equal digest."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def identity(self) -> dict[str, Any]:
        """Return what of this configuration decides a cell's bytes, as JSON values."""
        return self.model_dump(mode="json")


def measurement_name(row: Mapping[str, Any]) -> str:
    """Return what a measurement is called in its cell, such as `clean` or `pgd_L2_0.25`."""
    if row["attack"] == "none":
        return "clean"
    return f"{row['attack']}_{row['norm']}_{row['epsilon']:g}"


def canonical_json(value: Any) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces; what digests are taken of."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def digest_of(value: Any) -> str:
    """Return the sha256 of a value's canonical JSON, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()

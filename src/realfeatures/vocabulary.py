"""The field's terms as enums, the base of all configuration, and the digest of a value; imports no torch."""

import hashlib
import json
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict


class Paradigm(StrEnum):
    """How an encoder learns; `adversarial` only ever serves as a source of robust features."""

    SUPERVISED = "supervised"
    CONTRASTIVE = "contrastive"
    MASKED = "masked"
    DIFFUSION = "diffusion"


class Control(StrEnum):
    """Encoders that learn nothing: what a probe reaches without any pretraining."""

    PIXELS = "pixels"
    UNTRAINED = "untrained"


class Features(StrEnum):
    """The image sets, by the features that carry their labels (Ilyas et al. 2019, section 3)."""

    NATURAL = "natural"
    ROBUST = "robust"
    NON_ROBUST = "non_robust"
    D_RAND = "d_rand"


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


def canonical_json(value: Any) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces; what digests are taken of."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def digest_of(value: Any) -> str:
    """Return the sha256 of a value's canonical JSON, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()

"""How encoders learn: a module for each paradigm, and the registry that knows them by name."""

from realfeatures.science.paradigms.registry import (
    PARADIGMS,
    at_timestep,
    attributes_of,
    load_encoder,
    load_projection_head,
    paradigm_of,
    pretrain,
)

__all__ = [
    "PARADIGMS",
    "at_timestep",
    "attributes_of",
    "load_encoder",
    "load_projection_head",
    "paradigm_of",
    "pretrain",
]

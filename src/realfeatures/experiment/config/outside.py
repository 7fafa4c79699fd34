"""A classifier that was trained elsewhere."""

from typing import Any, Literal

from pydantic import field_validator, model_validator

from realfeatures.experiment.config.bounds import PositiveFloat
from realfeatures.experiment.vocabulary import Config


class OutsideConfig(Config):
    """A classifier that was trained elsewhere, read from a file in place of a training."""

    paradigm: Literal["outside"] = "outside"
    architecture: str
    """robustbench:resnet18 | robustbench:resnet34 | robustbench:resnet50 | torchvision:NAME | timm:NAME"""
    weights: str
    """Path of a .safetensors file, or of a state dict that torch.save wrote; code in it is never run."""
    sha256: str | None = None
    """Digest of the weights' file; filled in before a run, so that changed weights are another cell."""
    state_key: str | None = None
    """Where the file is a dictionary with the state dict in it, its key there, such as state_dict."""
    prefix: str = ""
    """Taken off the weights' names, such as `module.` or `model.`"""
    names: tuple[tuple[str, str], ...] = ()
    """Regular expressions and their replacements, in order, for the weights' names; renamed to nothing: left out."""
    options: tuple[tuple[str, int | float | bool | str], ...] = ()
    """Arguments of a torchvision or timm constructor by name, such as a vision transformer's image size."""
    mean: tuple[float, ...] | None = None
    """Of each channel, subtracted from images in [0, 1]; None: the model takes [0, 1]."""
    std: tuple[PositiveFloat, ...] | None = None
    """Of each channel, by which the difference is divided."""

    @field_validator("names", "options", mode="before")
    @classmethod
    def _pairs_of(cls, value: Any) -> Any:
        return tuple(value.items()) if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _normalisation_is_whole(self) -> "OutsideConfig":
        lengths = {None if values is None else len(values) for values in (self.mean, self.std)}
        if len(lengths) > 1:
            raise ValueError("mean and std belong together: one number a channel each, or neither")
        return self

    def identity(self) -> dict[str, Any]:
        """Leave the file's path out once its content is known: moving it changes nothing."""
        values = super().identity()
        if self.sha256 is not None:
            values["weights"] = "file"
        return values

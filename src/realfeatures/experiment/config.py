"""The experiment's configuration as frozen models; imports neither torch nor kfp.

Units: pixels and epsilon in [0, 1]; durations end in _epochs or _steps. Numbers are set in
presets.py, each with its source; here stand only types, bounds and the meaning of a field.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from realfeatures.experiment.vocabulary import (
    MAIN_FEATURES,
    Config,
    Control,
    Experiment,
    Features,
    Norm,
    Paradigm,
    Protocol,
)

Fraction = Annotated[float, Field(ge=0, le=1)]
PositiveInt = Annotated[int, Field(gt=0)]
NonNegativeInt = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]


class RuntimeConfig(Config):
    """On what a cell runs; part of every cell's address, since bytes depend on it."""

    device: Literal["cpu", "cuda"]
    precision: Literal["float32", "bfloat16"] = "float32"
    """bfloat16: training and synthesis run under autocast; representations and attacks stay in float32."""
    threads: PositiveInt = 1
    """CPU threads of one cell; one, so that `--jobs` scales and bytes do not depend on it."""


class DataConfig(Config):
    """A labelled image set: where it comes from and how much of it is used."""

    source: str
    """digits | cifar10 | cifar100 | svhn | fashion-mnist | folder:PATH (a tree or an archive of one)"""
    train_size: PositiveInt | None = None
    """Stratified subset of the training images; None: all."""
    test_size: PositiveInt | None = None
    """Stratified subset of the test images; None: all."""
    sha256: str | None = None
    """Digest of a folder's or archive's content; filled in before a run, so that changed data is another cell."""

    def identity(self) -> dict[str, Any]:
        """Leave a folder's path out once its content is known: moving it changes nothing."""
        values = super().identity()
        if self.sha256 is not None:
            values["source"] = "folder"
        return values


class OptimizerConfig(Config):
    """How weights are updated: optimiser, schedule and length."""

    name: Literal["sgd", "adam", "adamw"]
    learning_rate: PositiveFloat
    batch_size: PositiveInt
    epochs: PositiveInt
    momentum: Fraction = 0.9
    """SGD's momentum; Adam's first beta."""
    second_beta: Fraction = 0.999
    """Adam's second beta."""
    weight_decay: NonNegativeFloat = 0.0
    schedule: Literal["constant", "cosine", "step"] = "constant"
    """After warm-up: constant, cosine to zero, or divided by ten at `milestones`."""
    milestones: tuple[PositiveInt, ...] = ()
    """Epochs at which the step schedule divides the learning rate by ten."""
    warmup_epochs: NonNegativeFloat = 0.0
    """Linear warm-up from zero; at most half of the training, so that `epochs` alone can be shortened."""
    gradient_clip: PositiveFloat | None = None
    """Bound on the gradient's global L2 norm."""

    @model_validator(mode="after")
    def _schedule_fits(self) -> "OptimizerConfig":
        if bool(self.milestones) is not (self.schedule == "step"):
            raise ValueError("milestones belong to the step schedule, and it needs them")
        return self


class ResNetConfig(Config):
    """A ResNet with the CIFAR stem: 3x3 convolution, stride 1, no pooling."""

    block: Literal["basic", "bottleneck"] = "basic"
    blocks: tuple[PositiveInt, ...] = Field((2, 2, 2, 2), min_length=1)
    """Residual blocks in each stage; each stage after the first halves the resolution."""
    width: PositiveInt = 64
    """Channels of the first stage; each later stage doubles them."""


class CropFlipConfig(Config):
    """Random translation by zero-padding and cropping, and horizontal flip."""

    padding: NonNegativeInt = 4
    flip: bool = True
    """False for digits and house numbers, where a mirror image is another thing."""


class SimCLRAugmentationConfig(Config):
    """SimCLR's augmentation (Chen et al. 2020, appendix A)."""

    min_scale: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Smallest area of the random resized crop."""
    flip: bool = True
    brightness: Fraction = 0.8
    contrast: Fraction = 0.8
    saturation: Fraction = 0.8
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.2
    jitter_probability: Fraction = 0.8
    grey_probability: Fraction = 0.2
    blur_probability: Fraction = 0.5


class ThreatModel(Config):
    """The set of allowed perturbations: a ball of radius epsilon, images in [0, 1]."""

    norm: Norm
    epsilon: NonNegativeFloat


class PGDConfig(ThreatModel):
    """Projected gradient descent (Madry et al. 2018)."""

    step_size: PositiveFloat
    steps: PositiveInt


class SupervisedConfig(Config):
    """Cross-entropy on the labels."""

    paradigm: Literal[Paradigm.SUPERVISED] = Paradigm.SUPERVISED
    model: ResNetConfig
    optimizer: OptimizerConfig
    augmentation: CropFlipConfig


class AdversarialConfig(Config):
    """Cross-entropy on PGD examples of the current weights (Madry et al. 2018); the robust source."""

    paradigm: Literal["adversarial"] = "adversarial"
    model: ResNetConfig
    optimizer: OptimizerConfig
    augmentation: CropFlipConfig
    attack: PGDConfig


class ContrastiveConfig(Config):
    """SimCLR: two augmented views, NT-Xent loss (Chen et al. 2020)."""

    paradigm: Literal[Paradigm.CONTRASTIVE] = Paradigm.CONTRASTIVE
    model: ResNetConfig
    optimizer: OptimizerConfig
    augmentation: SimCLRAugmentationConfig
    projection_hidden: PositiveInt = 512
    projection_output: PositiveInt = 256
    temperature: PositiveFloat


class MaskedConfig(Config):
    """MAE: reconstruct the masked patches from the visible ones (He et al. 2022)."""

    paradigm: Literal[Paradigm.MASKED] = Paradigm.MASKED
    patch_size: PositiveInt
    width: PositiveInt
    encoder_blocks: PositiveInt
    decoder_blocks: PositiveInt
    heads: PositiveInt
    mask_ratio: Annotated[float, Field(gt=0, lt=1)]
    feature_pool: PositiveInt | None = None
    """The representation: the patches' tokens averaged to feature_pool x feature_pool; None: the class token."""
    optimizer: OptimizerConfig
    augmentation: CropFlipConfig

    @model_validator(mode="after")
    def _width_is_divisible(self) -> "MaskedConfig":
        if self.width % self.heads or self.width % 4:
            raise ValueError(f"width {self.width} must be a multiple of heads ({self.heads}) and of 4")
        return self


class DiffusionConfig(Config):
    """DDPM: predict the noise (Ho et al. 2020); the representation is read at one small timestep."""

    paradigm: Literal[Paradigm.DIFFUSION] = Paradigm.DIFFUSION
    width: PositiveInt
    """Channels at full resolution."""
    multipliers: tuple[PositiveInt, ...] = Field(min_length=1)
    """Channel multiplier at each resolution; each after the first halves it."""
    blocks: PositiveInt
    """Residual blocks at each resolution."""
    attention_resolutions: tuple[PositiveInt, ...]
    """Resolutions, in pixels, whose blocks are followed by self-attention."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    timesteps: PositiveInt = 1000
    beta_start: PositiveFloat = 1e-4
    beta_end: Annotated[float, Field(gt=0, lt=1)] = 0.02
    ema_decay: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Decay of the weights' exponential moving average, which the encoder then uses; None: the raw weights."""
    timestep: NonNegativeInt = 11
    """Timestep whose noise level the encoder adds before it reads the representation."""
    noise: Literal["fixed", "fresh"] = "fixed"
    """Of the encoder: one noise for all images, or, declared random, another one at every call."""
    feature_block: Literal["middle", "up"] = "middle"
    """Read after the middle block, or after the first resolution of the up path."""
    feature_pool: PositiveInt = 1
    """The representation is average-pooled to feature_pool x feature_pool."""
    optimizer: OptimizerConfig
    augmentation: CropFlipConfig

    @model_validator(mode="after")
    def _timestep_exists(self) -> "DiffusionConfig":
        if self.timestep >= self.timesteps:
            raise ValueError(f"timestep {self.timestep} must be below timesteps ({self.timesteps})")
        return self


class PixelsConfig(Config):
    """No encoder at all: the pixels themselves."""

    paradigm: Literal[Control.PIXELS] = Control.PIXELS


class UntrainedConfig(Config):
    """A paradigm's encoder at its random initialisation."""

    paradigm: Literal["untrained"] = "untrained"
    encoder: SupervisedConfig | ContrastiveConfig | MaskedConfig | DiffusionConfig = Field(discriminator="paradigm")


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


PretrainConfig = Annotated[
    SupervisedConfig
    | AdversarialConfig
    | OutsideConfig
    | ContrastiveConfig
    | MaskedConfig
    | DiffusionConfig
    | PixelsConfig
    | UntrainedConfig,
    Field(discriminator="paradigm"),
]


class MatchingConfig(Config):
    """Representation matching, which makes D_R and D_NR (Ilyas et al. 2019, section 3.1, equation 6)."""

    step_size: PositiveFloat
    """L2 length of a step."""
    steps: PositiveInt
    decay: bool = False
    """True: the step size falls linearly to a tenth over the steps."""
    delta: PositiveFloat | None = None
    """Bound on the L2 distance to the start image; None: unbounded."""
    start: Literal["image", "noise"] = "image"
    """Another training image, or uniform noise."""
    batch_size: PositiveInt = 512


class TargetedConfig(PGDConfig):
    """Targeted PGD, which makes D_rand and D_det (Ilyas et al. 2019, section 3.2)."""

    targets: Literal["random", "next"] = "random"
    """A uniformly random class, or the one after the image's own."""
    batch_size: PositiveInt = 512


class RelabellingConfig(Config):
    """Natural images with another set's labels."""

    order: Literal["kept", "shuffled"]
    """shuffled: each label goes to a random image, so that none tells of its own."""


class TimestepConfig(Config):
    """A diffusion encoder read at another timestep than it was configured with; its weights stay."""

    timestep: NonNegativeInt


class GaussianNoiseConfig(Config):
    """Normal noise on every value, cut to [0, 1] with the image."""

    deviation: PositiveFloat


class ProbeConfig(Config):
    """A linear classifier on a frozen encoder's standardised representations."""

    epochs: PositiveInt
    batch_size: PositiveInt
    learning_rate: PositiveFloat
    """Adam's peak learning rate, which falls to zero along a cosine."""
    weight_decay: NonNegativeFloat = 0.0
    augmentation: CropFlipConfig | SimCLRAugmentationConfig | GaussianNoiseConfig | None = None
    """Of the images, before their representations are taken."""
    views: PositiveInt = 1
    """How many augmented copies of each image are represented; one, the image itself, without augmentation."""

    @model_validator(mode="after")
    def _views_differ(self) -> "ProbeConfig":
        if self.augmentation is None and self.views > 1:
            raise ValueError(f"views {self.views}: without augmentation they are all the same; use 1")
        return self


class KNNConfig(Config):
    """A vote of the nearest training images, weighted by similarity (Wu et al. 2018, section 3.4)."""

    neighbours: PositiveInt
    temperature: PositiveFloat
    """Divides the cosine similarities before their exponential is taken."""


class AttackConfig(Config):
    """What a probed encoder is attacked with, and on how many test images."""

    images: PositiveInt
    """The first n test images are attacked by PGD; clean accuracy uses all."""
    pgd: tuple[ThreatModel, ...]
    pgd_steps: PositiveInt
    pgd_relative_step_size: PositiveFloat
    """Step size as a share of epsilon."""
    autoattack: tuple[ThreatModel, ...] = ()
    autoattack_images: PositiveInt
    """The first n test images are attacked by AutoAttack."""
    representation: tuple[ThreatModel, ...] = ()
    """PGD without labels, that moves the representation as far as it can."""
    masking_images: NonNegativeInt = 0
    """The first n test images are looked at for signs of gradient masking."""
    protocol: Protocol = Protocol.NATURAL
    batch_size: PositiveInt = 512


class TransferConfig(Config):
    """PGD on each of some classifiers, and what the others make of its images."""

    images: PositiveInt
    threats: tuple[ThreatModel, ...] = Field(min_length=1)
    steps: PositiveInt
    relative_step_size: PositiveFloat
    """Step size as a share of epsilon."""
    batch_size: PositiveInt = 512


class LossCurvesConfig(PGDConfig):
    """Ascend the contrastive loss and watch cross-entropy, and the other way round."""

    images: Annotated[int, Field(ge=2)]
    """An image's negatives are the others of its batch."""
    samples: PositiveInt
    """Pairs of augmented views a step."""
    augmentation: SimCLRAugmentationConfig
    temperature: PositiveFloat
    batch_size: Annotated[int, Field(ge=2)] = 128


class Preset(Config):
    """A whole experiment as data: one section for each kind of cell, and which cells there are."""

    name: str
    runtime: RuntimeConfig
    data: DataConfig
    experiments: tuple[Experiment, ...] = Field(tuple(Experiment), min_length=1)
    paradigms: tuple[Paradigm, ...] = Field(tuple(Paradigm), min_length=1)
    features: tuple[Features, ...] = Field(MAIN_FEATURES, min_length=1)
    """The sets that every paradigm is trained on; experiments add others."""
    supervised: SupervisedConfig
    standard: OutsideConfig | None = None
    """A trained classifier in place of the supervised encoder as the source of non-robust features."""
    adversarial: Annotated[AdversarialConfig | OutsideConfig, Field(discriminator="paradigm")]
    contrastive: ContrastiveConfig
    masked: MaskedConfig
    diffusion: DiffusionConfig
    robust: MatchingConfig
    non_robust: MatchingConfig
    d_rand: TargetedConfig
    d_det: TargetedConfig
    probe: ProbeConfig
    probe_views: PositiveInt
    """How many augmented copies of each image E4's probes are fitted to."""
    probe_noise: GaussianNoiseConfig
    """E4's noise; its crops and flips are the supervised paradigm's, its SimCLR views the contrastive one's."""
    knn: KNNConfig
    timesteps: tuple[NonNegativeInt, ...]
    """Timesteps at which the natural diffusion encoder is read besides its own."""
    attack: AttackConfig
    transfer: TransferConfig
    loss_curves: LossCurvesConfig

    @field_validator("experiments", "paradigms", "features", mode="before")
    @classmethod
    def _split_names(cls, value: Any) -> Any:
        """Accept `supervised,masked`, which is what a person writes on a command line."""
        if isinstance(value, str):
            return tuple(value.replace(",", " ").split())
        return value

    @model_validator(mode="after")
    def _selections_are_sets(self) -> "Preset":
        for name in ("experiments", "paradigms", "features", "timesteps"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(f"{name}: {', '.join(map(str, values))} names one twice")
        if Features.NATURAL not in self.features:
            raise ValueError("features must contain natural: every other set is made from it")
        others = [features for features in self.features if features not in MAIN_FEATURES]
        if others:
            raise ValueError(
                f"features: {', '.join(others)} comes with an experiment (E3 or E6); expected some of"
                f" {', '.join(MAIN_FEATURES)}"
            )
        return self

    @model_validator(mode="after")
    def _timesteps_exist(self) -> "Preset":
        beyond = [step for step in self.timesteps if step >= self.diffusion.timesteps]
        if beyond:
            raise ValueError(f"timesteps: {beyond[0]} must be below diffusion.timesteps ({self.diffusion.timesteps})")
        return self

"""Whether an experiment's models and attacks fit the images of its data set; asked before anything is computed."""

from realfeatures.errors import ConfigError
from realfeatures.experiment.config import DiffusionConfig, MaskedConfig, Preset, ResNetConfig, ResNetParadigmConfig
from realfeatures.experiment.vocabulary import ADVERSARIAL, Experiment, Paradigm
from realfeatures.science.data.decoded import Sizes


def check_fit(preset: Preset, info: Sizes) -> None:
    """Refuse sizes that do not fit the data set's images, before any training.

    Raises:
        ConfigError: a model does not fit the images, or more images are attacked than there are.
    """
    for name in (*Paradigm, ADVERSARIAL):
        config = getattr(preset, name)
        if isinstance(config, ResNetParadigmConfig):
            _check_resnet(config.model, info, where=f"{name}.model.blocks")
    if Paradigm.MASKED in preset.paradigms:
        _check_masked(preset.masked, info)
    if Paradigm.DIFFUSION in preset.paradigms:
        _check_diffusion(preset.diffusion, info)
    _check_test_images(preset, info)


def _check_test_images(preset: Preset, info: Sizes) -> None:
    attack, transfers = preset.attack, Experiment.E5 in preset.experiments
    for name, wanted, used in (
        ("attack.images", attack.images, attack.pgd or attack.representation),
        ("attack.autoattack_images", attack.autoattack_images, attack.autoattack),
        ("transfer.images", preset.transfer.images, transfers),
        ("loss_curves.images", preset.loss_curves.images, transfers),
    ):
        if used and wanted > info.test:
            raise ConfigError(
                f"{name} is {wanted} and there are {info.test} test images;"
                f" use --set {name}={info.test} or more test images"
            )


def _check_resnet(model: ResNetConfig, info: Sizes, *, where: str) -> None:
    smallest = 2 ** (len(model.blocks) - 1)
    if min(info.height, info.width) < smallest:
        raise ConfigError(
            f"{where}: {len(model.blocks)} stages need images of at least {smallest} pixels a side,"
            f" these have {info.height}x{info.width}; use fewer stages"
        )


def _check_masked(config: MaskedConfig, info: Sizes) -> None:
    patch = config.patch_size
    if info.height % patch or info.width % patch:
        raise ConfigError(
            f"masked.patch_size {patch} does not divide the images' {info.height}x{info.width} pixels;"
            " use one that does"
        )
    if patch in (info.height, info.width):
        raise ConfigError(
            f"masked.patch_size {patch} is a whole side of the images' {info.height}x{info.width} pixels;"
            " use a smaller one, so that there is something to mask"
        )
    tokens = min(info.height, info.width) // patch
    if config.feature_pool is not None and tokens % config.feature_pool:
        raise ConfigError(
            f"masked.feature_pool {config.feature_pool} does not divide the {tokens} patches a side; use one that does"
        )


def _check_diffusion(config: DiffusionConfig, info: Sizes) -> None:
    divisor = 2 ** (len(config.multipliers) - 1)
    if info.height % divisor or info.width % divisor:
        raise ConfigError(
            f"diffusion.multipliers: {len(config.multipliers)} resolutions need images whose sides are multiples"
            f" of {divisor}, these have {info.height}x{info.width}; use fewer multipliers"
        )
    resolutions = [info.height // 2**level for level in range(len(config.multipliers))]
    for resolution in config.attention_resolutions:
        if resolution not in resolutions:
            raise ConfigError(
                f"diffusion.attention_resolutions: {resolution} is none of {', '.join(map(str, resolutions))}, the"
                f" resolutions of {len(config.multipliers)} multipliers; use these"
            )
    bottom = min(info.height, info.width) // divisor
    if bottom % config.feature_pool:
        raise ConfigError(
            f"diffusion.feature_pool {config.feature_pool} does not divide the {bottom} pixels of the feature map;"
            " use one that does"
        )

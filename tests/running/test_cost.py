import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from realfeatures.experiment.config import Preset, ResNetConfig
from realfeatures.experiment.grid import cells
from realfeatures.experiment.presets import PRESETS, load_preset
from realfeatures.experiment.vocabulary import Paradigm
from realfeatures.running.cost import AUTOATTACK_TARGETS, Cost, dimension, estimate, forward_flops
from realfeatures.running.flops import mae_flops, resnet_flops, unet_flops
from realfeatures.science.attacks import autoattack
from realfeatures.science.data.decoded import Sizes
from realfeatures.science.data.sources import describe_source
from realfeatures.science.models.resnet import ResNet
from realfeatures.science.models.unet import UNet
from realfeatures.science.models.vit import MaskedDecoder, MaskedEncoder
from realfeatures.science.paradigms import PARADIGMS
from realfeatures.science.paradigms.base import ImageShape, frozen
from realfeatures.science.paradigms.masked import visible_count

CIFAR = Sizes(train=50_000, test=10_000, channels=3, height=32, width=32, classes=10)
DIGITS = Sizes(train=1297, test=500, channels=1, height=8, width=8, classes=10)
BATCH = 2
WITHIN = 0.05
"""How far an estimate may be from torch's own count."""


@pytest.fixture(autouse=True)
def no_fused_attention():
    """As in a run: the fused path is not among the operations that torch counts."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    yield
    torch.backends.mha.set_fastpath_enabled(before)


def counted(function) -> float:
    """Operations of one image, as torch counts them."""
    # The fused attention of the CPU is not among the operations that torch counts.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops() / BATCH


def images(info: Sizes) -> torch.Tensor:
    return torch.rand(BATCH, info.channels, info.height, info.width)


@pytest.mark.parametrize("info", [CIFAR, DIGITS], ids=["cifar", "digits"])
@pytest.mark.parametrize(
    "config",
    [
        ResNetConfig(),
        ResNetConfig(blocks=(1, 1, 1), width=16),
        ResNetConfig(block="bottleneck", blocks=(3, 4, 6, 3), width=64),
    ],
    ids=["resnet18", "narrow", "resnet50"],
)
def test_resnet_estimate_agrees_with_the_counter(config, info):
    model = ResNet(config, channels=info.channels).eval()
    with torch.no_grad():
        assert resnet_flops(config, info) == pytest.approx(counted(lambda: model(images(info))), rel=WITHIN)


def preset_and_info() -> list[tuple[Preset, Sizes]]:
    return [(PRESETS["digits"](), DIGITS), (PRESETS["cifar10-small"](), CIFAR), (PRESETS["paper"](), CIFAR)]


@pytest.mark.parametrize(("preset", "info"), preset_and_info(), ids=["digits", "small", "paper"])
@pytest.mark.parametrize("paradigm", ["supervised", "contrastive", "masked", "diffusion"])
def test_encoder_estimate_agrees_with_the_counter(preset, info, paradigm):
    config = getattr(preset, paradigm)
    encoder = PARADIGMS[paradigm].build(config, ImageShape(info.channels, info.height, info.width)).eval()
    with torch.no_grad():
        assert forward_flops(config, info) == pytest.approx(counted(lambda: encoder(images(info))), rel=WITHIN)
        assert dimension(config, info) == encoder(images(info)).shape[1]


@pytest.mark.parametrize(("preset", "info"), preset_and_info(), ids=["digits", "small", "paper"])
def test_unet_estimate_agrees_with_the_counter(preset, info):
    model = UNet(preset.diffusion, channels=info.channels, resolution=info.height)
    timesteps = torch.zeros(BATCH, dtype=torch.int64)
    with torch.no_grad():
        assert unet_flops(preset.diffusion, info) == pytest.approx(
            counted(lambda: model(images(info), timesteps)), rel=WITHIN
        )


@pytest.mark.parametrize(("preset", "info"), preset_and_info(), ids=["digits", "small", "paper"])
def test_mae_estimate_agrees_with_the_counter(preset, info):
    sizes = {"channels": info.channels, "height": info.height, "width": info.width}
    encoder, decoder = MaskedEncoder(preset.masked, **sizes), MaskedDecoder(preset.masked, **sizes)
    patches = (info.height // preset.masked.patch_size) ** 2
    shuffle = torch.arange(patches).expand(BATCH, -1)
    visible = shuffle[:, : visible_count(patches, preset.masked.mask_ratio)]
    with torch.no_grad():
        assert mae_flops(preset.masked, info) == pytest.approx(
            counted(lambda: decoder(encoder.encode(images(info), visible), shuffle)), rel=WITHIN
        )


def test_training_costs_three_forward_passes():
    model = ResNet(ResNetConfig(), channels=3)
    assert 3 * resnet_flops(ResNetConfig(), CIFAR) == pytest.approx(
        counted(lambda: model(images(CIFAR)).sum().backward()), rel=WITHIN
    )


def test_the_gradient_of_the_images_alone_costs_two_forward_passes():
    model = frozen(ResNet(ResNetConfig(), channels=3))
    inputs = images(CIFAR).requires_grad_()
    assert 2 * resnet_flops(ResNetConfig(), CIFAR) == pytest.approx(
        counted(lambda: model(inputs).sum().backward()), rel=WITHIN
    )


def costs_of(preset: Preset) -> dict[str, Cost]:
    info = describe_source(preset.data)
    return {cell.key: estimate(cell, preset, info) for cell in cells(preset, [0])}


def test_the_images_of_known_cells():
    costs = costs_of(
        load_preset(
            "digits",
            [
                "supervised.optimizer.epochs=30",
                "supervised.optimizer.batch_size=128",
                "adversarial.optimizer.epochs=60",
                "adversarial.optimizer.batch_size=128",
                "adversarial.attack.steps=5",
                "contrastive.optimizer.epochs=40",
                "contrastive.optimizer.batch_size=256",
                "robust.steps=100",
                "attack.images=250",
                "attack.pgd_steps=10",
                "attack.autoattack_images=100",
                "attack.masking_images=0",
                "experiments=E1,E2,E5,decomposition",
                "loss_curves.images=100",
                "loss_curves.steps=10",
                "loss_curves.samples=3",
            ],
        )
    )
    epoch = 1297 // 128 * 128  # the last incomplete batch is dropped
    assert costs["data"].images == 1797
    assert costs["seed0/natural/supervised/encoder"].images == 30 * epoch
    assert costs["seed0/sources/adversarial/encoder"].images == 60 * epoch * (1 + 5)
    assert costs["seed0/natural/contrastive/encoder"].images == 40 * 2 * (1297 // 256 * 256)
    assert costs["seed0/robust/images"].images == 1297 * (100 + 1)
    # Clean accuracy on all 500, PGD at three epsilons, AutoAttack at one.
    assert costs["seed0/controls/pixels/attack/robust"].images == 500 + 3 * 10 * 250
    autoattack = 100 * (100 + 2 * 9 * 100 + 5000)
    assert costs["seed0/natural/supervised/attack/natural"].images == 500 + 3 * 10 * 250 + autoattack
    # Four sources, one threat model: each attacked on 200 images in 10 steps, and classified by four.
    assert costs["seed0/natural/transfer"].images == 4 * 200 * (10 + 4)
    # A step of either attack ascends one loss and watches both; a sample is a pair of views.
    assert costs["seed0/natural/contrastive/loss_curves"].images == 3 * 100 * 10 * (2 * 3 + 1)


def test_every_preset_has_an_estimate_of_every_cell():
    for name in PRESETS:
        costs = costs_of(load_preset(name))
        assert all(cost.flops >= 0 and cost.images >= 0 for cost in costs.values())
        # Only data, labels and the encoders that learn nothing need no network.
        without = {key for key, cost in costs.items() if cost.flops == 0}
        untrained = {f"seed0/untrained/{paradigm}/encoder" for paradigm in Paradigm}
        relabelled = {"seed0/shuffled/images", "seed0/d_rand_labels/images"}
        moved = {key for key in costs if "/timestep" in key and key.endswith("/encoder")}
        assert without == {"data", "seed0/controls/pixels/encoder", *untrained, *relabelled, *moved}


def test_autoattack_weighs_what_it_is_likely_to_do_and_not_its_bound():
    costs = costs_of(PRESETS["digits"]())
    attacked, other = "seed0/natural/supervised/attack/natural", "seed0/natural/supervised/attack/robust"
    bound = costs[attacked].flops / costs[other].flops
    assert 1 < costs[attacked].weight / costs[other].weight < bound


def test_the_targets_of_autoattack_are_its_own():
    assert AUTOATTACK_TARGETS == autoattack.TARGET_CLASSES


@pytest.mark.parametrize("factor", [2, 3])
def test_work_grows_with_the_epochs(factor):
    once = costs_of(load_preset("digits", ["masked.optimizer.epochs=10"]))
    more = costs_of(load_preset("digits", [f"masked.optimizer.epochs={10 * factor}"]))
    key = "seed0/natural/masked/encoder"
    assert more[key].flops == pytest.approx(factor * once[key].flops)

"""The architectures: shapes, published sizes, independent implementations, determinism."""

import pytest
import torch
from torch import nn

from realfeatures.experiment.config import PixelsConfig
from realfeatures.experiment.presets import PRESETS, load_preset
from realfeatures.science.models.resnet import ResNet
from realfeatures.science.models.unet import UNet
from realfeatures.science.models.vit import MaskedEncoder, sine_cosine_positions, take_tokens
from realfeatures.science.paradigms import PARADIGMS
from realfeatures.science.paradigms.base import ImageShape, frozen


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("section", "torchvision_name"), [("supervised", "resnet18"), ("adversarial", "resnet50")])
def test_resnet_has_torchvisions_weights_but_for_the_stem_and_head(section: str, torchvision_name: str) -> None:
    import torchvision

    theirs = getattr(torchvision.models, torchvision_name)()
    theirs.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    theirs.fc = nn.Identity()
    ours = ResNet(getattr(load_preset("paper"), section).model, channels=3)
    assert parameters(ours) == parameters(theirs)


def test_resnet18_computes_what_torchvisions_does_with_the_same_weights() -> None:
    import torchvision

    torch.manual_seed(0)
    ours = ResNet(load_preset("paper").supervised.model, channels=3).eval()
    theirs = torchvision.models.resnet18().eval()
    theirs.conv1, theirs.maxpool, theirs.fc = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity(), nn.Identity()
    # Both define their modules in the order of the forward pass, but for the two ends of a block.
    weights = ours.state_dict()
    for name in theirs.state_dict():
        source = (
            name.replace("conv1.", "residual.0.").replace("bn1.", "residual.1.")
            if name.startswith("layer")
            else name.replace("conv1.", "stem.0.").replace("bn1.", "stem.1.")
        )
        source = (
            source.replace("conv2.", "residual.3.").replace("bn2.", "residual.4.").replace("downsample", "shortcut")
        )
        for stage in range(4):
            source = source.replace(f"layer{stage + 1}.", f"stages.{stage}.")
        theirs.state_dict()[name].copy_(weights.pop(source))
    assert not weights
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(ours(images), theirs(2 * images - 1), rtol=1e-4, atol=1e-4)


def test_unet_has_the_published_number_of_weights() -> None:
    # Ho et al. 2020, appendix B: "Our CIFAR10 model has 35.7 million parameters".
    unet = UNet(load_preset("paper").diffusion, channels=3, resolution=32)
    assert parameters(unet) == pytest.approx(35.7e6, abs=0.05e6)


def test_unet_has_as_many_weights_as_diffusers() -> None:
    diffusers = pytest.importorskip("diffusers")
    theirs = diffusers.UNet2DModel(
        sample_size=32,
        in_channels=3,
        out_channels=3,
        block_out_channels=(128, 256, 256, 256),
        layers_per_block=2,
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=None,
    )
    assert parameters(UNet(load_preset("paper").diffusion, channels=3, resolution=32)) == parameters(theirs)


def test_unet_reads_timestep_and_whole_image() -> None:
    torch.manual_seed(0)
    config = load_preset("digits").diffusion
    unet = UNet(config, channels=1, resolution=8)
    for parameter in unet.parameters():  # its output starts at zero by design
        nn.init.normal_(parameter, std=0.1)
    images = torch.randn(2, 1, 8, 8)
    early, late = (unet(images, torch.tensor([step, step])) for step in (3, 700))
    assert early.shape == images.shape
    assert not torch.allclose(early, late)
    assert unet.features(images, torch.tensor([3, 3]), "up").shape == (2, 32, 4, 4)
    assert unet.features(images, torch.tensor([3, 3]), "middle").shape == (2, 32, 4, 4)


def test_masked_encoder_sees_the_visible_patches_only() -> None:
    torch.manual_seed(0)
    config = load_preset("digits").masked
    encoder = MaskedEncoder(config, channels=1, height=8, width=8).eval()
    images = torch.rand(2, 1, 8, 8)
    visible = torch.tensor([[0, 5], [3, 2]])
    before = encoder.encode(images, visible)
    assert before.shape == (2, 3, config.width)
    changed = images.clone()
    changed[:, :, 6:, 6:] = 0  # patch 15, which nobody sees
    assert torch.equal(encoder.encode(changed, visible), before)
    changed[0, :, 0:2, 0:2] = 0  # patch 0, visible in the first image only
    after = encoder.encode(changed, visible)
    assert not torch.allclose(after[0], before[0])
    assert torch.allclose(after[1], before[1])


def test_transformer_blocks_are_initialised_each_for_itself() -> None:
    encoder = MaskedEncoder(load_preset("cifar10-small").masked, channels=3, height=32, width=32)
    first, second, *_ = (layer.linear1.weight for layer in encoder.blocks.layers)
    assert not torch.equal(first, second)


def test_positions_of_all_patches_differ_and_rows_share_their_half() -> None:
    positions = sine_cosine_positions(3, 4, 16)[0].reshape(3, 4, 16)
    assert len({tuple(row.tolist()) for row in positions.reshape(12, 16)}) == 12
    rows = positions[:, :, :4]  # the sines of the row
    assert torch.equal(rows[:, 0], rows[:, 3])


def test_take_tokens_picks_each_images_own() -> None:
    tokens = torch.arange(2 * 3 * 1).reshape(2, 3, 1)
    assert take_tokens(tokens, torch.tensor([[2, 0], [1, 1]]))[..., 0].tolist() == [[2, 0], [4, 4]]


@pytest.mark.parametrize("preset_name", ["digits", "cifar10-small"])
@pytest.mark.parametrize("paradigm", [name for name in PARADIGMS if name != "outside"])  # which test_outside.py builds
def test_an_encoder_is_deterministic_and_treats_images_one_by_one(preset_name: str, paradigm: str) -> None:
    torch.manual_seed(0)
    preset = PRESETS[preset_name]()
    config = getattr(preset, paradigm, None) or PixelsConfig()
    shape = ImageShape(1, 8, 8) if preset_name == "digits" else ImageShape(3, 32, 32)
    encoder = frozen(PARADIGMS[paradigm].build(config, shape))
    images = torch.rand(3, shape.channels, shape.height, shape.width)
    representations = encoder(images)
    assert representations.ndim == 2
    assert torch.equal(encoder(images), representations)
    torch.testing.assert_close(encoder(images[1:2]), representations[1:2], rtol=1e-4, atol=1e-5)
    if hasattr(encoder, "dimension"):
        assert representations.shape == (3, encoder.dimension)

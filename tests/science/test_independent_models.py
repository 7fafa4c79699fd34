"""The networks with the weights of timm's, torchvision's and diffusers': the same numbers come out."""

import math
from collections.abc import Iterator
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from realfeatures.experiment.config import CropFlipConfig, DiffusionConfig, MaskedConfig, OptimizerConfig, ResNetConfig
from realfeatures.science.models.resnet import ResNet
from realfeatures.science.models.unet import UNet
from realfeatures.science.models.vit import MaskedDecoder, MaskedEncoder, patchify, sine_cosine_positions

OPTIMIZER = OptimizerConfig(name="adam", learning_rate=1e-3, batch_size=4, epochs=1)
WIDTH, ROWS, COLUMNS, PATCH = 16, 3, 2, 4


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randomise(module: nn.Module) -> None:
    """Give every weight and statistic a value of its own: zeros and ones would hide one put in another's place."""
    generator = seeded(1)
    with torch.no_grad():
        for value in module.state_dict().values():
            if value.is_floating_point():
                value.copy_(torch.rand(value.shape, generator=generator) * 0.2 + 0.1 / math.sqrt(value[0].numel()))


def copy_in_order(source: list[Tensor], target: list[Tensor]) -> None:
    assert [value.shape for value in source] == [value.shape for value in target]
    with torch.no_grad():
        for ours, theirs in zip(source, target, strict=True):
            theirs.copy_(ours)


# ResNet


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_a_resnet_of_either_block_computes_torchvisions_in_both_modes(block: str, train: bool) -> None:
    from torchvision.models import resnet

    torch.manual_seed(0)
    ours = ResNet(ResNetConfig(block=block, blocks=(1, 2, 1, 1), width=64), channels=3).train(train)
    theirs = resnet.ResNet(resnet.BasicBlock if block == "basic" else resnet.Bottleneck, [1, 2, 1, 1]).train(train)
    theirs.conv1, theirs.maxpool, theirs.fc = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity(), nn.Identity()
    # Both list their weights in the order of the forward pass, a block's shortcut last.
    copy_in_order(list(ours.state_dict().values()), list(theirs.state_dict().values()))
    images = torch.rand(4, 3, 16, 16, generator=seeded())
    torch.testing.assert_close(ours(images), theirs(2 * images - 1), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(list(ours.state_dict().values()), list(theirs.state_dict().values()))


# Vision transformer


def masked_config(feature_pool: int | None = None) -> MaskedConfig:
    return MaskedConfig(
        patch_size=PATCH,
        width=WIDTH,
        encoder_blocks=2,
        decoder_blocks=2,
        heads=4,
        mask_ratio=0.5,
        feature_pool=feature_pool,
        optimizer=OPTIMIZER,
        augmentation=CropFlipConfig(),
    )


def block_weights(layer: nn.TransformerEncoderLayer) -> Iterator[Tensor]:
    """A pre-norm block's weights in timm's order: norm, attention, norm, two linear layers."""
    yield from layer.norm1.parameters()
    yield from (layer.self_attn.in_proj_weight, layer.self_attn.in_proj_bias)
    yield from layer.self_attn.out_proj.parameters()
    yield from layer.norm2.parameters()
    yield from (*layer.linear1.parameters(), *layer.linear2.parameters())


def timms_twin(encoder: MaskedEncoder) -> nn.Module:
    timm = pytest.importorskip("timm")
    theirs = timm.models.VisionTransformer(
        img_size=(ROWS * PATCH, COLUMNS * PATCH),
        patch_size=PATCH,
        embed_dim=WIDTH,
        depth=2,
        num_heads=4,
        num_classes=0,
        norm_layer=partial(nn.LayerNorm, eps=1e-5),
    ).eval()
    positions = torch.cat([torch.zeros(1, 1, WIDTH), encoder.positions], dim=1)  # the class token has none
    ours = [encoder.class_token, positions, *encoder.embed.parameters()]
    for layer in encoder.blocks.layers:
        ours.extend(block_weights(layer))
    copy_in_order([*ours, *encoder.blocks.norm.parameters()], list(theirs.parameters()))
    return theirs


def small_encoder(feature_pool: int | None = None) -> MaskedEncoder:
    encoder = MaskedEncoder(masked_config(feature_pool), channels=3, height=ROWS * PATCH, width=COLUMNS * PATCH).eval()
    randomise(encoder)
    return encoder


def test_the_masked_encoder_on_whole_images_computes_timms_vision_transformer() -> None:
    encoder = small_encoder()
    theirs = timms_twin(encoder)
    images = torch.rand(2, 3, ROWS * PATCH, COLUMNS * PATCH, generator=seeded())
    torch.testing.assert_close(encoder.encode(images), theirs.forward_features(2 * images - 1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(encoder(images), theirs(2 * images - 1), rtol=1e-4, atol=1e-5)


def test_pooled_tokens_are_averaged_over_the_patches_and_not_over_the_class_token() -> None:
    pooled = small_encoder(feature_pool=1)
    images = torch.rand(2, 3, ROWS * PATCH, COLUMNS * PATCH, generator=seeded())
    tokens = timms_twin(pooled).forward_features(2 * images - 1)
    torch.testing.assert_close(pooled(images), tokens[:, 1:].mean(1), rtol=1e-4, atol=1e-5)


def test_an_order_of_the_visible_patches_changes_only_the_order_of_their_tokens() -> None:
    encoder = small_encoder()
    images = torch.rand(1, 3, ROWS * PATCH, COLUMNS * PATCH, generator=seeded())
    one, other = (encoder.encode(images, torch.tensor([order])) for order in ([4, 0, 3], [0, 3, 4]))
    torch.testing.assert_close(one[:, [0, 2, 3, 1]], other, rtol=1e-4, atol=1e-5)


def test_the_decoder_computes_mae_with_timms_blocks_patch_by_patch() -> None:
    vision_transformer = pytest.importorskip("timm.models.vision_transformer")
    decoder = MaskedDecoder(masked_config(), channels=3, height=ROWS * PATCH, width=COLUMNS * PATCH).eval()
    randomise(decoder)
    encoded = torch.randn(1, 1 + 2, WIDTH, generator=seeded())
    shuffle = torch.tensor([[4, 1, 0, 5, 3, 2]])  # patches 4 and 1 are visible
    embedded = decoder.embed(encoded)
    tokens = [embedded[0, 0]]
    for patch in range(ROWS * COLUMNS):
        seen = {4: embedded[0, 1], 1: embedded[0, 2]}.get(patch, decoder.mask_token[0, 0])
        tokens.append(seen + decoder.positions[0, patch])
    found = torch.stack(tokens)[None]
    for layer in decoder.blocks.layers:
        norm = partial(nn.LayerNorm, eps=1e-5)
        block = vision_transformer.Block(WIDTH, 4, qkv_bias=True, norm_layer=norm).eval()
        copy_in_order(list(block_weights(layer)), list(block.parameters()))
        found = block(found)
    expected = decoder.predict(decoder.blocks.norm(found))[:, 1:]
    torch.testing.assert_close(decoder(encoded, shuffle), expected, rtol=1e-4, atol=1e-5)


def test_positions_are_timms_and_those_of_mae_with_the_axes_swapped() -> None:
    timm_layers = pytest.importorskip("timm.layers")
    ours = sine_cosine_positions(ROWS, COLUMNS, WIDTH)[0]
    theirs = timm_layers.build_sincos2d_pos_embed([ROWS, COLUMNS], dim=WIDTH, interleave_sin_cos=False)
    # Ours goes through the axes and in each through sine and cosine, timm's the other way round.
    by_function = ours.reshape(-1, 2, 2, WIDTH // 4).transpose(1, 2).flatten(1)
    torch.testing.assert_close(by_function, theirs)

    # MAE's released code: the column's half first, in each the sines and then the cosines.
    def one_axis(place: int) -> list[float]:
        angles = [place / 10000 ** (index / (WIDTH / 4)) for index in range(WIDTH // 4)]
        return [math.sin(angle) for angle in angles] + [math.cos(angle) for angle in angles]

    slow = torch.tensor([one_axis(row) + one_axis(column) for row in range(ROWS) for column in range(COLUMNS)])
    torch.testing.assert_close(ours, slow)


def test_patches_are_those_of_a_slow_loop_and_fold_back_into_the_image() -> None:
    images = torch.rand(2, 3, ROWS * PATCH, COLUMNS * PATCH, generator=seeded())
    patches = patchify(images, PATCH)
    for image in range(2):
        for row in range(ROWS):
            for column in range(COLUMNS):
                window = images[image, :, row * PATCH : (row + 1) * PATCH, column * PATCH : (column + 1) * PATCH]
                assert torch.equal(patches[image, row * COLUMNS + column], window.reshape(-1))
    folded = nn.functional.fold(patches.transpose(1, 2), images.shape[2:], PATCH, stride=PATCH)
    assert torch.equal(folded, images)


def test_the_embedding_and_the_loss_number_the_patches_alike() -> None:
    encoder = small_encoder()
    images = torch.rand(2, 3, ROWS * PATCH, COLUMNS * PATCH, generator=seeded())
    embedded = encoder.embed(images).flatten(2).transpose(1, 2)
    from_patches = patchify(images, PATCH) @ encoder.embed.weight.flatten(1).T + encoder.embed.bias
    torch.testing.assert_close(embedded, from_patches, rtol=1e-4, atol=1e-5)


# U-Net


def diffusers_weights(theirs: nn.Module) -> Iterator[Tensor]:
    """The weights of diffusers' U-Net in the order of ours; its three projections of attention are one of ours."""

    def resnet(block: nn.Module, attention: nn.Module | None) -> Iterator[Tensor]:
        for part in (block.norm1, block.conv1, block.time_emb_proj, block.norm2, block.conv2, block.conv_shortcut):
            yield from part.parameters() if part is not None else ()
        if attention is not None:
            yield from attention.group_norm.parameters()
            projections = (attention.to_q, attention.to_k, attention.to_v)
            yield torch.cat([projection.weight for projection in projections])[:, :, None, None]
            yield torch.cat([projection.bias for projection in projections])
            yield attention.to_out[0].weight[:, :, None, None]
            yield attention.to_out[0].bias

    def level(block: nn.Module, resampling: str) -> Iterator[Tensor]:
        attentions = list(getattr(block, "attentions", [])) or [None] * len(block.resnets)
        for found, attention in zip(block.resnets, attentions, strict=False):  # the middle's second has none
            yield from resnet(found, attention)
        for found in list(block.resnets)[len(attentions) :]:
            yield from resnet(found, None)
        for found in getattr(block, resampling, None) or ():
            yield from found.parameters()

    yield from theirs.time_embedding.parameters()
    yield from theirs.conv_in.parameters()
    for block in theirs.down_blocks:
        yield from level(block, "downsamplers")
    yield from level(theirs.mid_block, "")
    for block in theirs.up_blocks:
        yield from level(block, "upsamplers")
    yield from (*theirs.conv_norm_out.parameters(), *theirs.conv_out.parameters())


def test_the_unet_computes_what_diffusers_does_with_the_same_weights() -> None:
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    config = DiffusionConfig(
        width=128,  # at which both have DDPM's 32 groups
        multipliers=(1, 2),
        blocks=1,
        attention_resolutions=(4,),
        optimizer=OPTIMIZER,
        augmentation=CropFlipConfig(),
    )
    ours = UNet(config, channels=3, resolution=8).eval()
    theirs = diffusers.UNet2DModel(
        sample_size=8,
        block_out_channels=(128, 256),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=None,
        norm_eps=1e-6,
        # DDPM's own embedding of the timestep
        flip_sin_to_cos=False,
        freq_shift=1,
    ).eval()
    copy_in_order([weight.detach() for weight in diffusers_weights(theirs)], list(ours.state_dict().values()))
    images, timesteps = torch.randn(2, 3, 8, 8, generator=seeded()), torch.tensor([3, 700])
    with torch.no_grad():
        torch.testing.assert_close(ours(images, timesteps), theirs(images, timesteps).sample, rtol=1e-4, atol=1e-4)

"""The vision transformer of MAE (He et al. 2022): an encoder of the visible patches and a light decoder."""

import torch
from torch import Tensor, nn

from realfeatures.experiment.config import MaskedConfig
from realfeatures.science.models.encoder import Encoder, pool_to

INITIAL_STD = 0.02
"""Standard deviation of the class and mask tokens at initialisation (He et al. 2022, released code)."""


class MaskedEncoder(Encoder):
    """The encoder of MAE, which normalises to [-1, 1].

    `encode` is the same network on a chosen subset of the patches, which is how it is pretrained.
    """

    def __init__(self, config: MaskedConfig, *, channels: int, height: int, width: int) -> None:
        super().__init__()
        self.feature_pool = config.feature_pool
        self.dimension = config.width * (config.feature_pool or 1) ** 2
        self.embed = nn.Conv2d(channels, config.width, config.patch_size, stride=config.patch_size)
        self.class_token = nn.Parameter(INITIAL_STD * torch.randn(1, 1, config.width))
        self.rows, self.columns = height // config.patch_size, width // config.patch_size
        positions = sine_cosine_positions(self.rows, self.columns, config.width)
        self.register_buffer("positions", positions, persistent=False)
        self.blocks = transformer(config.width, config.heads, config.encoder_blocks)

    def forward(self, images: Tensor) -> Tensor:
        """Return representations (N, dimension) of whole images."""
        tokens = self.encode(images)
        if self.feature_pool is None:
            return tokens[:, 0]
        grid = tokens[:, 1:].transpose(1, 2).reshape(len(tokens), -1, self.rows, self.columns)  # (N, width, h, w)
        return pool_to(grid, self.feature_pool)

    def encode(self, images: Tensor, visible: Tensor | None = None) -> Tensor:
        """Return encoded tokens.

        Args:
            images: (N, C, H, W) float in [0, 1].
            visible: (N, V) int64, indices of the patches to encode; None: all T of them.

        Returns:
            (N, 1 + V, width): the class token, then the patches in the order of `visible`.
        """
        patches = self.embed(2 * images - 1).flatten(2).transpose(1, 2)  # (N, T, width)
        patches = patches + self.positions
        if visible is not None:
            patches = take_tokens(patches, visible)  # (N, V, width)
        tokens = torch.cat([self.class_token.expand(len(patches), -1, -1), patches], dim=1)
        encoded: Tensor = self.blocks(tokens)
        return encoded


class MaskedDecoder(nn.Module):
    """Predicts every patch's pixels from the encoded visible ones (He et al. 2022, section 3)."""

    positions: Tensor

    def __init__(self, config: MaskedConfig, *, channels: int, height: int, width: int) -> None:
        super().__init__()
        rows, columns = height // config.patch_size, width // config.patch_size
        self.embed = nn.Linear(config.width, config.width)
        self.mask_token = nn.Parameter(INITIAL_STD * torch.randn(1, 1, config.width))
        self.register_buffer("positions", sine_cosine_positions(rows, columns, config.width), persistent=False)
        self.blocks = transformer(config.width, config.heads, config.decoder_blocks)
        self.predict = nn.Linear(config.width, channels * config.patch_size**2)

    def forward(self, encoded: Tensor, shuffle: Tensor) -> Tensor:
        """Return predicted patches (N, T, C * patch^2) in image order.

        Args:
            encoded: (N, 1 + V, width), from MaskedEncoder.encode.
            shuffle: (N, T) int64, a permutation of the patches whose first V are the visible ones.
        """
        tokens = self.embed(encoded)
        class_token, visible = tokens[:, :1], tokens[:, 1:]
        masked = self.mask_token.to(tokens.dtype).expand(len(tokens), shuffle.shape[1] - visible.shape[1], -1)
        shuffled = torch.cat([visible, masked], dim=1)  # (N, T, width), visible first
        patches = take_tokens(shuffled, shuffle.argsort(dim=1)) + self.positions  # image order
        decoded = self.blocks(torch.cat([class_token, patches], dim=1))
        predicted: Tensor = self.predict(decoded[:, 1:])
        return predicted


def transformer(width: int, heads: int, blocks: int) -> nn.TransformerEncoder:
    """Return pre-norm transformer blocks with a final norm (Dosovitskiy et al. 2021)."""
    layer = nn.TransformerEncoderLayer(
        width, heads, dim_feedforward=4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
    stack = nn.TransformerEncoder(layer, blocks, norm=nn.LayerNorm(width), enable_nested_tensor=False)
    # TransformerEncoder copies one initialised layer; each block needs weights of its own.
    for parameter in stack.parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)
    return stack


def take_tokens(tokens: Tensor, indices: Tensor) -> Tensor:
    """Return tokens (N, K, D): for each image those of (N, T, D) that indices (N, K) name."""
    return tokens.gather(1, indices.unsqueeze(2).expand(-1, -1, tokens.shape[2]))


def patchify(images: Tensor, patch_size: int) -> Tensor:
    """Return patches (N, T, C * patch_size^2) of images (N, C, H, W), row by row; C varies slowest in a patch."""
    return nn.functional.unfold(images, patch_size, stride=patch_size).transpose(1, 2)


def sine_cosine_positions(rows: int, columns: int, width: int) -> Tensor:
    """Return fixed position embeddings (1, rows * columns, width): half of the width for each axis.

    Source: He et al. 2022, appendix A.1; the frequencies are those of Vaswani et al. 2017.
    """
    quarter = width // 4
    frequencies = 1 / 10000 ** (torch.arange(quarter) / quarter)
    grid = torch.cartesian_prod(torch.arange(rows).float(), torch.arange(columns).float())  # (T, 2)
    angles = grid.reshape(-1, 2)[:, :, None] * frequencies  # (T, 2, width / 4)
    return torch.cat([angles.sin(), angles.cos()], dim=2).reshape(1, rows * columns, width)

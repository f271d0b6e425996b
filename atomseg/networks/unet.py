"""The U-Net: image in, five heads out, on one pixel grid."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from atomseg.errors import ConfigError
from atomseg.types import StageConfig

# Channels of the last layer before they are spread over the pixels of a 2 x 2 block.
_HEAD_CHANNELS = {
    "heatmap": 1,
    "offset": 2,
    "offset_sigma": 1,
    "restored": 1,
    "crystal": 1,
    "denoised": 1,
    "columns": 1,
}
HEADS: tuple[str, ...] = tuple(_HEAD_CHANNELS)
# No network goes without these.
BASIC_HEADS = HEADS[:5]
# Offsets are trusted to no better than exp(-5) = 0.007 px and no worse than exp(2) = 7 px: outside, nothing is learned.
_LOG_SIGMA_RANGE = (-5.0, 2.0)
_STEM = 2  # pixels of a block that become channels: most of the image's information at a quarter of the cost


@dataclass(frozen=True, kw_only=True)
class UNetConfig(StageConfig):
    """Architecture of `UNet`.

    Parameters
    ----------
    channels : tuple of int
        Feature channels at 1/2, 1/4, 1/8, ... of the resolution, 2 to 5 levels.
    bottom_blocks : int
        Extra residual pairs of convolutions at the coarsest level, where context is cheapest.
    bottom_dilation : int
        Spacing of the taps of these pairs: the view widens at no cost.
    heads : tuple of str
        What the network answers: `BASIC_HEADS` always, the others of `HEADS` as wanted, in that order.
    """

    channels: tuple[int, ...] = (24, 48, 96)
    bottom_blocks: int = 1
    bottom_dilation: int = 1
    heads: tuple[str, ...] = HEADS

    def __post_init__(self) -> None:
        if not 2 <= len(self.channels) <= 5 or not all(4 <= c <= 512 for c in self.channels):
            raise ConfigError(f"network.channels is {self.channels}; allowed 2 to 5 levels of 4 to 512 channels")
        if not 0 <= self.bottom_blocks <= 8:
            raise ConfigError(f"network.bottom_blocks is {self.bottom_blocks}; allowed 0 to 8")
        if not 1 <= self.bottom_dilation <= 4:
            raise ConfigError(f"network.bottom_dilation is {self.bottom_dilation}; allowed 1 to 4")
        if self.heads != tuple(h for h in HEADS if h in BASIC_HEADS or h in self.heads):
            raise ConfigError(
                f"network.heads is {self.heads}; allowed {BASIC_HEADS} and any of {HEADS[5:]}, in this order"
            )

    @property
    def stride(self) -> int:
        """Input sides must be multiples of this many pixels."""
        return int(_STEM * 2 ** (len(self.channels) - 1))

    @property
    def receptive_px(self) -> int:
        """Pixels beyond which an input can not change an output, on each side.

        Each 3 x 3 convolution at stride s reaches s pixels further; every change of grid, by a block of 2s, can add
        up to 2s - s = s more because a coarse cell sees its whole block; the output block adds one.
        """
        n_levels = len(self.channels)
        reach = 0
        for level in range(n_levels):
            step = _STEM * 2**level
            convolutions = 4 if level < n_levels - 1 else 2 + 2 * self.bottom_blocks * self.bottom_dilation
            reach += convolutions * step
            if level < n_levels - 1:
                reach += step
        head = _STEM
        return reach + head + _STEM - 1


@dataclass(frozen=True)
class Outputs:
    """Raw network outputs, each (B, C, H, W).

    Parameters
    ----------
    heatmap, crystal : torch.Tensor
        (B, 1, H, W) logits.
    offset : torch.Tensor
        (B, 2, H, W) vector (dy, dx) to the nearest column, pixels.
    log_sigma : torch.Tensor
        (B, 1, H, W) natural logarithm of the standard deviation of each offset component, pixels.
    restored : torch.Tensor
        (B, 1, H, W) narrow columns without background, in units of the local scale of the normalization.
    denoised : torch.Tensor or None
        (B, 1, H, W) the normalized image without its noise; None where the network has no such head.
    columns : torch.Tensor or None
        (B, 1, H, W) columns at their own width without background, in units of the local scale; None likewise.
    """

    heatmap: Tensor
    offset: Tensor
    log_sigma: Tensor
    restored: Tensor
    crystal: Tensor
    denoised: Tensor | None = None
    columns: Tensor | None = None


class _Pair(nn.Sequential):
    """Two 3 x 3 convolutions, each with batch normalization and ReLU."""

    def __init__(self, n_in: int, n_out: int, dilation: int = 1) -> None:
        super().__init__(
            nn.Conv2d(n_in, n_out, 3, padding=dilation, dilation=dilation, bias=False),
            nn.BatchNorm2d(n_out),
            nn.ReLU(inplace=True),
            nn.Conv2d(n_out, n_out, 3, padding=dilation, dilation=dilation, bias=False),
            nn.BatchNorm2d(n_out),
            nn.ReLU(inplace=True),
        )


class UNet(nn.Module):
    """U-Net on blocks of 2 x 2 pixels.

    The stem folds each block into channels without loss and the output unfolds it, so that no convolution runs at full
    resolution. Normalization uses running statistics in eval mode: an output depends on its receptive field only.

    Parameters
    ----------
    config : UNetConfig
        Channels and depth.
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.channels
        self.stem = nn.PixelUnshuffle(_STEM)
        self.encoder = nn.ModuleList()
        n_in = _STEM**2
        for width in widths:
            self.encoder.append(_Pair(n_in, width))
            n_in = width
        self.pool = nn.AvgPool2d(2)
        self.bottom = nn.ModuleList(
            _Pair(widths[-1], widths[-1], config.bottom_dilation) for _ in range(config.bottom_blocks)
        )
        self.up = nn.ModuleList()
        self.decoder = nn.ModuleList()
        for fine, coarse in zip(widths[-2::-1], widths[:0:-1], strict=True):
            self.up.append(nn.ConvTranspose2d(coarse, fine, 2, stride=2))
            self.decoder.append(_Pair(2 * fine, fine))
        n_out = sum(_HEAD_CHANNELS[name] for name in config.heads)
        self.head = nn.Sequential(nn.Conv2d(widths[0], n_out * _STEM**2, 3, padding=1), nn.PixelShuffle(_STEM))

    def forward(self, image: Tensor) -> Outputs:
        """Outputs for normalized images.

        Parameters
        ----------
        image : torch.Tensor
            (B, 1, H, W) float, H and W multiples of the config's `stride`.
        """
        skips: list[Tensor] = []
        features = self.stem(image)
        last = len(self.encoder) - 1
        for level, block in enumerate(self.encoder):
            features = block(features)
            if level < last:
                skips.append(features)
                features = self.pool(features)
        for block in self.bottom:
            features = features + block(features)
        for up, block in zip(self.up, self.decoder, strict=True):
            features = block(torch.cat([up(features), skips.pop()], dim=1))
        heads = self.config.heads
        parts = torch.split(self.head(features), [_HEAD_CHANNELS[name] for name in heads], dim=1)
        answers = dict(zip(heads, parts, strict=True))
        answers["log_sigma"] = answers.pop("offset_sigma").clamp(*_LOG_SIGMA_RANGE)
        return Outputs(**answers)

"""Losses of the heads."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from atomseg.errors import ConfigError
from atomseg.networks import Outputs
from atomseg.types import StageConfig

_CHARBONNIER_EPSILON = 1e-2


@dataclass(frozen=True, kw_only=True)
class LossConfig(StageConfig):
    """Weights of the heads and shape of the losses.

    Parameters
    ----------
    heatmap, offset, restored, crystal, denoised, columns : float
        Weights of the heads in the sum.
    focus : float
        Exponent of ``|target - p|`` that multiplies the cross entropy of the heat map: 0 is plain cross entropy, more
        looks harder at what is wrong (quality focal loss, Li et al. 2020, arXiv:2006.04388, equation 5).
    variance_weighting : float
        Exponent of the predicted variance that multiplies the offset likelihood (beta-NLL, Seitzer et al. 2022,
        arXiv:2203.09168, equation 5): 0 is the plain likelihood, which gives up on hard columns early.
    """

    heatmap: float = 1.0
    offset: float = 0.2
    restored: float = 0.5
    crystal: float = 0.1
    denoised: float = 0.5
    columns: float = 0.25
    focus: float = 1.0
    variance_weighting: float = 0.5

    def __post_init__(self) -> None:
        for name, high in (
            ("heatmap", 100.0),
            ("offset", 100.0),
            ("restored", 100.0),
            ("crystal", 100.0),
            ("denoised", 100.0),
            ("columns", 100.0),
            ("focus", 4.0),
            ("variance_weighting", 1.0),
        ):
            value = getattr(self, name)
            if not 0 <= value <= high:
                raise ConfigError(f"losses.{name} is {value:g}; allowed 0 to {high:g}")


@dataclass(frozen=True)
class Batch:
    """A training batch, float32 tensors (B, C, H, W); see `atomseg.train.targets.Targets` and `Outputs`.

    `known` and `clean_known` are (B, 1, 1, 1), 1 where the truth of restored, columns and crystal, and of denoised, is
    known, and 0 where an image has only the positions of its columns.
    """

    image: Tensor
    heatmap: Tensor
    heatmap_weight: Tensor
    offset: Tensor
    offset_weight: Tensor
    restored: Tensor
    crystal: Tensor
    denoised: Tensor
    columns: Tensor
    known: Tensor
    clean_known: Tensor


def total_loss(outputs: Outputs, batch: Batch, config: LossConfig) -> dict[str, Tensor]:
    """Loss of each head and their weighted sum under ``total``; scalars.

    Heat map and offset are sums divided by the area that required columns cover, so that a crystal of few columns and
    one of many weigh the same per column; a batch without columns is divided by its share of an ordinary one.
    """
    area = batch.offset_weight.sum().clamp_min(0.02 * batch.offset_weight.numel())
    losses = {
        "heatmap": heatmap_loss(outputs.heatmap, batch.heatmap, batch.heatmap_weight, config.focus) / area,
        "offset": offset_loss(
            outputs.offset, outputs.log_sigma, batch.offset, batch.offset_weight, config.variance_weighting
        )
        / area,
        "restored": charbonnier(outputs.restored, batch.restored, batch.known),
        "crystal": functional.binary_cross_entropy_with_logits(
            outputs.crystal, batch.crystal, weight=batch.known.expand_as(batch.crystal)
        ),
    }
    if outputs.denoised is not None:
        losses["denoised"] = charbonnier(outputs.denoised, batch.denoised, batch.clean_known)
    if outputs.columns is not None:
        losses["columns"] = charbonnier(outputs.columns, batch.columns, batch.known)
    losses["total"] = torch.stack([getattr(config, name) * value for name, value in losses.items()]).sum()
    return losses


def heatmap_loss(logits: Tensor, target: Tensor, weight: Tensor, focus: float) -> Tensor:
    """Sum of the weighted quality focal loss; its minimum is at ``sigmoid(logits) = target`` for any `focus`."""
    entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    if focus > 0:
        entropy = entropy * (torch.sigmoid(logits) - target).abs().pow(focus)
    return (entropy * weight).sum()


def offset_loss(offset: Tensor, log_sigma: Tensor, target: Tensor, weight: Tensor, variance_weighting: float) -> Tensor:
    """Sum of the weighted Gaussian negative log likelihood of both components, up to a constant."""
    error2 = (offset - target).square()
    likelihood = 0.5 * error2 * torch.exp(-2 * log_sigma) + log_sigma
    if variance_weighting > 0:
        likelihood = likelihood * torch.exp(2 * variance_weighting * log_sigma).detach()
    return (likelihood * weight).sum()


def charbonnier(value: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Mean of a smooth absolute difference times a weight that is broadcast over the pixels."""
    difference = torch.sqrt((value - target).square() + _CHARBONNIER_EPSILON**2) - _CHARBONNIER_EPSILON
    return (difference * weight).mean()

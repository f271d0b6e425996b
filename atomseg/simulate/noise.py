"""Poisson counts from normal deviates: vectorized, the same on every device."""

import math

import torch
from torch import Tensor

# Mean counts above which the expansion of the quantile function is used; below, the distribution function is summed.
EXPANSION_ABOVE = 4.0
_PIECE = 16384


def poisson(mean: Tensor, normal: Tensor) -> Tensor:
    """Poisson draws, float32, of the given means; each is the quantile at which its normal deviate lies.

    Above `EXPANSION_ABOVE` the quantile is the expansion of Giles (2016), doi:10.1145/2699466, in powers of one over
    the root of the mean, rounded down; below, the smallest count whose distribution function reaches the deviate's.

    Parameters
    ----------
    mean : torch.Tensor
        Expected counts, any shape, not negative.
    normal : torch.Tensor
        Standard normal deviates of that shape.
    """
    counts = torch.empty_like(mean)
    # Pieces that stay in the cache of a CPU; many of them are all bright or all dim and need no sorting.
    size = _PIECE if mean.device.type == "cpu" else max(mean.numel(), 1)
    pieces = (t.reshape(-1).split(size) for t in (mean, normal, counts.view(-1)))
    for m, w, out in zip(*pieces, strict=True):
        dim = m < EXPANSION_ABOVE
        if not bool(dim.any()):
            out.copy_(_by_expansion(m, w))
        elif bool(dim.all()):
            out.copy_(_by_summation(m, w))
        else:
            out.copy_(_by_expansion(m.clamp_min(EXPANSION_ABOVE), w))
            out[dim] = _by_summation(m[dim], w[dim])
    return counts


def _by_expansion(mean: Tensor, normal: Tensor) -> Tensor:
    root, square = mean.sqrt(), normal.square()
    value = torch.addcmul(mean, normal, root).add_(square, alpha=1 / 6).add_(1 / 3)
    value.sub_((square + 2).mul_(normal).div_(root).div_(72))
    value.add_((square / 270).add_(7 / 810).mul_(square).sub_(8 / 405).div_(mean))
    return value.floor_().clamp_min_(0.0)


def _by_summation(mean: Tensor, normal: Tensor) -> Tensor:
    level = torch.special.ndtr(normal)
    term = torch.exp(-mean)
    below, counts, passed = term.clone(), torch.zeros_like(mean), torch.empty_like(mean)
    # Six standard deviations and six counts above the mean leave less than 1e-8.
    largest = float(mean.max())
    for k in range(1, math.ceil(largest + 6 * math.sqrt(largest) + 6)):
        counts.add_(passed.copy_(level).gt_(below))
        below.add_(term.mul_(mean).mul_(1 / k))
    return counts

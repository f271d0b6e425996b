"""Sums of many elliptical Gaussians, sampled where each scan line really was: batched matrix products in torch.

A Gaussian is the product of one along y and one along x whose centre moves with y. Along x it is a short Fourier
series, so that the displacement of a line is a phase and the sum over columns, like that over frequencies, is a matrix
product: no patches, no scattered additions, the same arithmetic on CPU and GPU.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

# The series stops where the spectrum of a Gaussian has fallen to exp(-10) = 5e-5 of its start: 2 (pi sigma f)^2 = 10.
_BAND = math.sqrt(5.0) / math.pi
# Columns further than this many standard deviations from a line or a tile are left out: exp(-4.2^2 / 2) = 1.5e-4.
_REACH = 4.2
# Tiles on the CPU, pixels: the number of frequencies, and with it the work a pixel, grows with the width.
_TILE_ROWS, _TILE_COLS = 64, 256


@dataclass(frozen=True)
class Spots:
    """The Gaussians of B scenes, N of them each; scenes with fewer are filled up with peaks of 0.

    Parameters
    ----------
    yx_px : torch.Tensor
        (B, N, 2) float64 centres (y, x), pixels.
    peak : torch.Tensor
        (B, N) float32 peak heights.
    covariance : torch.Tensor
        (B, 2, 2) float64 covariances (y, x), pixels squared.
    samples_px : torch.Tensor
        (B, H, 2) float64: y where a line was sampled, and how far along x its sampling points were displaced, pixels.
    """

    yx_px: Tensor
    peak: Tensor
    covariance: Tensor
    samples_px: Tensor


def splat(spots: Spots, width: int, *, tiled: bool) -> Tensor:
    """(B, H, W) float32 sums of Gaussians.

    Parameters
    ----------
    spots : Spots
        What to add up.
    width : int
        Columns of the images.
    tiled : bool
        Work in tiles and leave out what does not reach into them: fast for single scenes on a CPU, and the work grows
        with the area of the image. Otherwise the whole batch goes at once, for GPUs. Both agree to 1e-3 of a peak.
    """
    if not tiled:
        return _sum(spots, width, [(slice(None), slice(None))])
    parts = zip(spots.yx_px, spots.peak, spots.covariance, spots.samples_px, strict=True)
    images = [_tiled(Spots(*(t[None] for t in scene)), width) for scene in parts]
    return images[0][None] if len(images) == 1 else torch.stack(images)


def _tiled(spots: Spots, width: int) -> Tensor:
    """(H, W) sum of one scene, tile by tile."""
    samples = spots.samples_px
    reach_y, reach_x = (_REACH * math.sqrt(float(spots.covariance[0, i, i])) for i in (0, 1))
    reach_x += float(samples[0, :, 1].abs().amax())
    order = torch.argsort(spots.yx_px[0, :, 0])
    order = order[spots.peak[0, order] > 0]
    yx, peak = spots.yx_px[:, order], spots.peak[:, order]
    bands = [slice(top, top + _TILE_ROWS) for top in range(0, samples.shape[1], _TILE_ROWS)]
    ends = torch.stack(
        [torch.stack([y.amin() - reach_y, y.amax() + reach_y]) for y in (samples[0, b, 0] for b in bands)]
    )
    parts = []
    for left in range(0, width, _TILE_COLS):
        size = min(_TILE_COLS, width - left)
        near = torch.nonzero((yx[0, :, 1] > left - reach_x) & (yx[0, :, 1] < left + size - 1 + reach_x))[:, 0]
        shifted = yx[:, near] - yx.new_tensor([0.0, left])
        limits = torch.searchsorted(shifted[0, :, 0].contiguous(), ends).tolist()
        tile = Spots(shifted, peak[:, near], spots.covariance, samples)
        parts.append(_sum(tile, size, [(band, slice(*limit)) for band, limit in zip(bands, limits, strict=True)])[0])
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def _sum(spots: Spots, width: int, bands: list[tuple[slice, slice]]) -> Tensor:
    """(B, H, width) sums; each band of lines takes its columns only."""
    along_y = spots.covariance[:, 0, 0, None]
    slope = spots.covariance[:, 0, 1, None] / along_y  # the centre along x moves by this much for each pixel along y
    along_x = (spots.covariance[:, 1, 1, None] - spots.covariance[:, 0, 1, None] * slope).clamp_min(1e-6)
    y, shift_x = spots.samples_px[..., 0], spots.samples_px[..., 1]
    # One period holds the image and, on both sides, all that reaches into it; what lies further would be wrapped in.
    reach = _REACH * spots.covariance[:, 1, 1, None].sqrt() + shift_x.abs().amax(dim=1, keepdim=True)
    period = width + 2 * reach
    inside = (spots.yx_px[..., 1] > -reach) & (spots.yx_px[..., 1] < width - 1 + reach)
    limit = torch.floor(_BAND * period / along_x.sqrt())
    k = torch.arange(int(limit.max()) + 1, device=y.device, dtype=torch.float32)
    strength = torch.exp(-2 * math.pi**2 * (along_x / period**2).float() * k**2) * (k <= limit)
    strength = strength * (torch.where(k > 0, 2.0, 1.0) * (torch.sqrt(2 * math.pi * along_x) / period).float())
    column = _waves((spots.yx_px[..., 1] - slope * spots.yx_px[..., 0]) / period, k)
    line_cos, line_sin = _waves((shift_x - slope * y) / period, k).split(len(k), dim=-1)
    basis = _waves(torch.arange(width, device=y.device, dtype=torch.float64) / period, k)
    basis = (basis * strength.repeat(1, 2)[:, None]).transpose(1, 2)
    peak = (spots.peak * inside)[:, None]
    narrow = torch.sqrt(0.5 / along_y)
    line_y, column_y = (y * narrow)[:, :, None], (spots.yx_px[..., 0] * narrow)[:, None]
    image = torch.zeros(*y.shape, width, device=y.device)
    for rows, sites in bands:
        share = (line_y[:, rows] - column_y[..., sites]).float()
        share = share.square_().neg_().exp_().mul_(peak[..., sites])
        cosine, sine = (share @ column[:, sites]).split(len(k), dim=-1)
        turned = torch.empty(*cosine.shape[:2], 2 * len(k), device=y.device)
        turned[..., : len(k)] = line_cos[:, rows] * cosine + line_sin[:, rows] * sine
        turned[..., len(k) :] = line_cos[:, rows] * sine - line_sin[:, rows] * cosine
        image[:, rows] = turned @ basis
    return image


def _waves(turns: Tensor, k: Tensor) -> Tensor:
    """(..., 2 K): cosines, then sines of k times an angle given in turns; whole turns are taken off before float32."""
    angle = (2 * math.pi * (turns - torch.round(turns))).float()[..., None]
    twice = torch.cat([k, k])
    quarter = torch.cat([torch.zeros_like(k), torch.full_like(k, -0.5 * math.pi)])
    return torch.addcmul(quarter, angle, twice).cos_()

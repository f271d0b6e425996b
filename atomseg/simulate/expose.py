"""From columns and background to recorded images: batches of scenes in torch, on a CPU or a GPU.

A scene is drawn from its own seed and its own numbers alone: it does not depend on what else is in the batch.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from atomseg.simulate.background import Ground
from atomseg.simulate.detector import Tone, developed, record, smeared
from atomseg.simulate.imaging import Imaging
from atomseg.simulate.splat import Spots, splat

# Nodes in a standard deviation of a tail: linear in between is right to (1 / 4)^2 / 8, 0.8 % of a tail's height.
_TAIL_NODES = 4.0


@dataclass(frozen=True)
class Exposure:
    """All that an image is made of; drawing it is cheap, making the image is not.

    Parameters
    ----------
    imaging : Imaging
        Sampling, column shape and dose.
    yx_px : numpy.ndarray
        (N, 2) float64 columns, pixels, line errors left out.
    peak : numpy.ndarray
        (N,) float64 heights of their cores, expected counts.
    tail : numpy.ndarray
        (N,) float64 heights of their tails, expected counts.
    ground : Ground
        Background.
    seed : int
        Of the noise.
    """

    imaging: Imaging
    yx_px: np.ndarray
    peak: np.ndarray
    tail: np.ndarray
    ground: Ground
    seed: int


@dataclass(frozen=True)
class Exposed:
    """What an exposure became.

    Parameters
    ----------
    image : torch.Tensor
        (H, W) float32 recorded values.
    expected : torch.Tensor
        (H, W) float32 expected counts, free of noise.
    clean : torch.Tensor
        (H, W) float32 what would have been recorded without noise, neither clipped nor rounded.
    tone : Tone
        What turns expected counts into recorded values.
    """

    image: Tensor
    expected: Tensor
    clean: Tensor
    tone: Tone


def expose(exposures: list[Exposure], device: torch.device | str = "cpu") -> list[Exposed]:
    """Images of several scenes, made on one device.

    Parameters
    ----------
    exposures : list of Exposure
        Any number, of any shapes.
    device : torch.device or str
        Where to work. The noise of a seed differs between kinds of device. On a CPU one thread works, so that an image
        does not depend on how many there are.
    """
    device = torch.device(device)
    with _one_thread():
        if device.type == "cpu":
            return [_recorded(e, expected) for e in exposures for expected in expected_counts([e], device)]
        counts = expected_counts(exposures, device, tiled=False)
        return [_recorded(e, expected) for e, expected in zip(exposures, counts, strict=True)]


def expected_counts(exposures: list[Exposure], device: torch.device | str, *, tiled: bool = True) -> list[Tensor]:
    """(H, W) float32 expected counts of each exposure; ``tiled`` as for `splat`."""
    device = torch.device(device)
    scans = [e.imaging.scan for e in exposures]
    samples = [scan.lines_px() + _numbered(scan.shape[0]) for scan in scans]
    cores = Spots(
        _stack([e.yx_px for e in exposures], device, torch.float64),
        _stack([e.peak for e in exposures], device, torch.float32),
        torch.as_tensor(np.stack([e.imaging.covariance_px for e in exposures]), device=device),
        _stack(samples, device, torch.float64),
    )
    images = splat(cores, max(scan.shape[1] for scan in scans), tiled=tiled)
    grids = [_tail_grid(e) for e in exposures]
    tails = Spots(
        _stack(
            [(e.yx_px - grid.origin_px) / grid.step_px for e, grid in zip(exposures, grids, strict=True)],
            device,
            torch.float64,
        ),
        _stack([e.tail for e in exposures], device, torch.float32),
        torch.as_tensor(np.stack([_TAIL_NODES**2 * np.eye(2)] * len(grids)), device=device),
        _stack([_numbered(grid.shape[0]) for grid in grids], device, torch.float64),
    )
    nodes = splat(tails, max(grid.shape[1] for grid in grids), tiled=tiled)
    return [
        _assembled(
            e, image[: e.imaging.scan.shape[0], : e.imaging.scan.shape[1]], grid, tail[: grid.shape[0], : grid.shape[1]]
        )
        for e, image, grid, tail in zip(exposures, images, grids, nodes, strict=True)
    ]


@dataclass(frozen=True)
class _Grid:
    """Nodes on pixel coordinates: the first one and the step, each (y, x) pixels, and how many there are."""

    origin_px: np.ndarray
    step_px: np.ndarray
    shape: tuple[int, int]


def _tail_grid(exposure: Exposure) -> _Grid:
    """Nodes for the tails, over the image and everything that jumps may bring into it."""
    scan = exposure.imaging.scan
    step = exposure.imaging.profile.tail_nm / np.asarray(scan.pixel_size_nm) / _TAIL_NODES
    margin = np.abs(scan.jumps_px).max(axis=0)
    count = np.ceil((np.asarray(scan.shape) - 1 + 2 * margin) / step).astype(int) + 2
    return _Grid(-margin, step, (int(count[0]), int(count[1])))


def _ground_grid(exposure: Exposure) -> _Grid:
    scan, ground = exposure.imaging.scan, exposure.ground
    size = np.asarray(scan.pixel_size_nm)
    origin = np.asarray(ground.origin_nm) / size + (np.asarray(scan.shape) - 1) / 2
    return _Grid(origin, ground.step_nm / size, (ground.nodes.shape[0], ground.nodes.shape[1]))


def _assembled(exposure: Exposure, image: Tensor, tail_grid: _Grid, tail: Tensor) -> Tensor:
    """Cores, tails and background, as bright as the beam was on each line."""
    imaging = exposure.imaging
    scan, grid = imaging.scan, _ground_grid(exposure)
    nodes = torch.as_tensor(exposure.ground.nodes * np.float32(imaging.peak_counts), device=image.device)
    y, x = (o + step * np.arange(n) for o, step, n in zip(grid.origin_px, grid.step_px, grid.shape, strict=True))
    nodes += _interpolated(tail, tail_grid, y, x)
    # Each part between two jumps comes from where it was sampled.
    ends, columns = (0, *scan.jump_rows, scan.shape[0]), np.arange(scan.shape[1])
    image = image.clone()
    for first, last, jump in zip(ends[:-1], ends[1:], scan.jumps_px, strict=True):
        image[first:last] += _interpolated(nodes, grid, np.arange(first, last) + jump[0], columns + jump[1])
    if imaging.detector.ramp != 0.0:
        rows = imaging.scan.shape[0]
        gain = imaging.detector.line_gain(np.arange(rows), rows)
        image *= torch.as_tensor(gain, dtype=torch.float32, device=image.device)[:, None]
    return image


def _interpolated(nodes: Tensor, grid: _Grid, y_px: np.ndarray, x_px: np.ndarray) -> Tensor:
    """(len(y), len(x)) values from nodes, linear in between."""
    at = np.clip((y_px - grid.origin_px[0]) / grid.step_px[0], 0.0, grid.shape[0] - 1.001)
    low = at.astype(np.intp)
    index = torch.as_tensor(low, device=nodes.device)
    share = torch.as_tensor(at - low, dtype=torch.float32, device=nodes.device)[:, None]
    rows = torch.lerp(nodes[index], nodes[index + 1], share)
    return rows @ _hat((x_px - grid.origin_px[1]) / grid.step_px[1], grid.shape[1], nodes.device).T


def _recorded(exposure: Exposure, expected: Tensor) -> Exposed:
    imaging = exposure.imaging
    generator = torch.Generator(expected.device).manual_seed(exposure.seed)
    image, tone = record(expected, imaging.peak_counts, imaging.detector, generator, imaging.filter_px)
    seen = smeared(expected, imaging.detector, imaging.filter_px)
    clean = developed(seen + imaging.detector.offset * imaging.peak_counts, tone)
    return Exposed(image, expected, clean, tone)


def _numbered(rows: int) -> np.ndarray:
    """(rows, 2): the number of each line along y, nothing along x."""
    return np.stack([np.arange(rows, dtype=np.float64), np.zeros(rows)], axis=1)


def _stack(arrays: list[np.ndarray], device: torch.device, dtype: torch.dtype) -> Tensor:
    """(B, longest, ...) tensor; short arrays are filled up with 0, which for a peak means none."""
    if len(arrays) == 1:
        return torch.as_tensor(arrays[0], dtype=dtype, device=device)[None]
    out = np.zeros((len(arrays), max(len(a) for a in arrays), *arrays[0].shape[1:]))
    for k, a in enumerate(arrays):
        out[k, : len(a)] = a
    return torch.as_tensor(out, dtype=dtype, device=device)


def _hat(at: np.ndarray, n: int, device: torch.device) -> Tensor:
    """(len(at), n) float32 weights of linear interpolation between n nodes."""
    nodes = torch.arange(n, device=device, dtype=torch.float32)
    points = torch.as_tensor(np.clip(at, 0.0, n - 1.0), dtype=torch.float32, device=device)
    return (1.0 - (points[:, None] - nodes).abs_()).clamp_min_(0.0)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums are split differently among threads, which would show in the last digit and then in a Poisson draw."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)

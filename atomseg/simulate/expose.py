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
from atomseg.simulate.detector import Tone, record
from atomseg.simulate.imaging import Imaging
from atomseg.simulate.splat import Spots, splat


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
    tone : Tone
        What turns expected counts into recorded values.
    """

    image: Tensor
    expected: Tensor
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
    width = max(e.imaging.scan.shape[1] for e in exposures)
    samples = _stack([e.imaging.scan.lines_px() + _rows(e) for e in exposures], device, torch.float64)
    yx = _stack([e.yx_px for e in exposures], device, torch.float64)
    total = torch.zeros(len(exposures), samples.shape[1], width, device=device)
    for peaks, covariances in (
        ([e.peak for e in exposures], [e.imaging.covariance_px for e in exposures]),
        ([e.tail for e in exposures], [_tail_covariance(e) for e in exposures]),
    ):
        covariance = torch.as_tensor(np.stack(covariances), device=device)
        total += splat(Spots(yx, _stack(peaks, device, torch.float32), covariance, samples), width, tiled=tiled)
    images = []
    for exposure, image in zip(exposures, total, strict=True):
        height, own_width = exposure.imaging.scan.shape
        images.append(_with_ground(exposure, image[:height, :own_width]))
    return images


def _with_ground(exposure: Exposure, image: Tensor) -> Tensor:
    """Columns and background, as bright as the beam was on each line."""
    scan, detector, ground = exposure.imaging.scan, exposure.imaging.detector, exposure.ground
    rows = np.searchsorted(scan.jump_rows, np.arange(scan.shape[0]), side="right")
    y, x = scan.axes_nm()
    y = y + scan.jumps_px[rows, 0] * scan.pixel_size_nm[0]  # the background jumps along y; along x it is too smooth
    hats = [
        _hat((axis - origin) / ground.step_nm, n, image.device)
        for axis, origin, n in zip((y, x), ground.origin_nm, ground.nodes.shape, strict=True)
    ]
    nodes = torch.as_tensor(ground.nodes * np.float32(exposure.imaging.peak_counts), device=image.device)
    image = torch.addmm(image, hats[0], nodes @ hats[1].T)
    if detector.ramp == 0.0:
        return image
    gain = detector.line_gain(np.arange(scan.shape[0]), scan.shape[0])
    return image * torch.as_tensor(gain, dtype=torch.float32, device=image.device)[:, None]


def _recorded(exposure: Exposure, expected: Tensor) -> Exposed:
    imaging = exposure.imaging
    generator = torch.Generator(expected.device).manual_seed(exposure.seed)
    image, tone = record(expected, imaging.peak_counts, imaging.detector, generator, imaging.filter_px)
    return Exposed(image, expected, tone)


def _rows(exposure: Exposure) -> np.ndarray:
    """(H, 2): the number of each line along y, nothing along x."""
    rows = np.arange(exposure.imaging.scan.shape[0], dtype=np.float64)
    return np.stack([rows, np.zeros_like(rows)], axis=1)


def _tail_covariance(exposure: Exposure) -> np.ndarray:
    size = np.asarray(exposure.imaging.scan.pixel_size_nm)
    return np.diag((exposure.imaging.profile.tail_nm / size) ** 2)


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

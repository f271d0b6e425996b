"""Dose and detector: expected counts to a recorded image, and the noise that a column stands in."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from atomseg.simulate.afterglow import kept
from atomseg.simulate.imaging_config import DetectorConfig
from atomseg.simulate.noise import poisson
from atomseg.simulate.sampling import chance, integer, log_uniform, uniform

FULL_SCALE = {"uint8": 255.0, "uint16": 65535.0}


@dataclass(frozen=True)
class Detector:
    """Recording of one image.

    Parameters
    ----------
    counts : float
        Detected counts under the core of a full TM column.
    excess_noise : float
        Variance over Poisson variance.
    read_noise, offset : float
        Relative to the TM peak.
    gain : float
        Image units per count (float images).
    pixel_format : str
        float32, uint16 or uint8.
    clipped : float
        Part of the pixels that clip.
    gamma : float
        Exponent of the tone curve; 1 for none.
    afterglow_px : float
        Decay length along the fast axis; 0 for none.
    frames : int
        Frames averaged.
    registration_nm : float
        Misregistration of averaged frames, nm.
    ramp : float
        Relative change of the whole signal from the first line to the last.
    filter_nm : float
        Standard deviation of a low-pass filter applied after recording, nm; 0 for none.
    """

    counts: float
    excess_noise: float
    read_noise: float
    offset: float
    gain: float
    pixel_format: str
    clipped: float
    gamma: float
    afterglow_px: float
    frames: int
    registration_nm: float
    ramp: float = 0.0
    filter_nm: float = 0.0

    def line_gain(self, row: np.ndarray, rows: int) -> np.ndarray:
        """Factor on the signal of (fractional) lines of an image of that many rows; 1 in the middle."""
        return np.asarray(1.0 + self.ramp * (row / max(rows - 1, 1) - 0.5))


@dataclass(frozen=True)
class Tone:
    """How counts become image values: ``value = low + span * ((counts - black) / white) ** gamma``.

    Parameters
    ----------
    black, white : float
        Counts of the darkest value and the range above it.
    span : float
        Image units of that range.
    gamma : float
        Exponent.
    """

    black: float
    white: float
    span: float
    gamma: float

    def __call__(self, counts: np.ndarray) -> np.ndarray:
        """Image values of expected counts, neither clipped nor rounded."""
        relative = (counts - self.black) / self.white
        return np.asarray(self.span * np.sign(relative) * np.abs(relative) ** self.gamma)

    def slope(self, counts: np.ndarray) -> np.ndarray:
        """Image units per count at given counts."""
        relative = np.maximum((counts - self.black) / self.white, 1e-3)
        return np.asarray(self.span / self.white * self.gamma * relative ** (self.gamma - 1.0))


def draw_detector(config: DetectorConfig, rng: np.random.Generator) -> Detector:
    """Random dose and detector."""
    usual = chance(rng, config.p_usual)
    pixel_format = str(rng.choice(np.array(config.formats)))
    averaged = chance(rng, config.p_frames)
    return Detector(
        counts=log_uniform(rng, config.usual_counts if usual else config.counts),
        excess_noise=uniform(rng, config.excess_noise),
        read_noise=uniform(rng, config.read_noise),
        offset=uniform(rng, config.offset),
        gain=log_uniform(rng, config.gain),
        pixel_format=pixel_format,
        clipped=uniform(rng, config.clipped) if chance(rng, config.p_clipped) else 0.0,
        gamma=uniform(rng, config.gamma) if chance(rng, config.p_gamma) else 1.0,
        afterglow_px=uniform(rng, config.afterglow_px) if chance(rng, config.p_afterglow) else 0.0,
        frames=integer(rng, config.frames) if averaged else 1,
        registration_nm=1e-3 * uniform(rng, config.registration_pm) if averaged else 0.0,
        ramp=uniform(rng, config.ramp) if chance(rng, config.p_ramp) else 0.0,
        filter_nm=1e-3 * uniform(rng, config.filter_pm) if chance(rng, config.p_filter) else 0.0,
    )


def record(
    expected: Tensor,
    peak_counts: float,
    detector: Detector,
    generator: torch.Generator,
    filter_px: tuple[float, float] = (0.0, 0.0),
) -> tuple[Tensor, Tone]:
    """Draw the image: Poisson last of the physics, then the electronics, then what users do to images.

    Parameters
    ----------
    expected : torch.Tensor
        (H, W) float32 expected counts.
    peak_counts : float
        Counts at the peak of a full TM column, for quantities relative to it.
    detector : Detector
        What to apply.
    generator : torch.Generator
        Randomness, of the device of `expected`.
    filter_px : tuple of float
        (y, x) standard deviations of the low-pass filter, pixels; 0 for none.

    Returns
    -------
    image : torch.Tensor
        (H, W) float32 recorded values.
    tone : Tone
        What turns expected counts into recorded values.
    """

    def normal() -> Tensor:
        return torch.randn(expected.shape, generator=generator, device=expected.device)

    counts = poisson(expected.clamp_min(0.0), normal())
    variance = (detector.excess_noise - 1.0) * counts + (detector.read_noise * peak_counts) ** 2
    counts += normal() * variance.sqrt_()
    counts = smeared(counts, detector, filter_px) + detector.offset * peak_counts
    tone = _tone(counts, detector)
    image = developed(counts, tone)
    if detector.pixel_format != "float32":
        image = image.round_().clamp_(0.0, FULL_SCALE[detector.pixel_format])
    return image, tone


def smeared(counts: Tensor, detector: Detector, filter_px: tuple[float, float]) -> Tensor:
    """Counts with what spreads them after they were counted: afterglow and the user's filter of (y, x) pixels."""
    if detector.afterglow_px > 0.0:
        counts = counts @ _afterglow(counts.shape[1], detector.afterglow_px, counts.device).T
    return low_pass(counts, filter_px) if min(filter_px) > 0.0 else counts


def developed(counts: Tensor, tone: Tone) -> Tensor:
    """Image values of counts, neither clipped nor rounded: `Tone` for tensors."""
    relative = (counts - tone.black) / tone.white
    if tone.gamma != 1.0:
        relative = relative.sign() * relative.abs() ** tone.gamma
    return relative * tone.span


def low_pass(counts: Tensor, filter_px: tuple[float, float]) -> Tensor:
    """Gaussian filter with (y, x) standard deviations in pixels."""
    rows, cols = (_blur(n, sigma, counts.device) for n, sigma in zip(counts.shape, filter_px, strict=True))
    return rows @ counts @ cols.T


def _afterglow(n: int, decay_px: float, device: torch.device) -> Tensor:
    """(n, n) what a pixel keeps of those before it on its line; the first one has glowed for ever."""
    keep = kept(decay_px)
    steps = torch.arange(n, device=device, dtype=torch.float32)
    weights = torch.tril((1.0 - keep) * keep ** (steps[:, None] - steps[None, :]).clamp_min(0.0))
    weights[:, 0] = keep**steps
    return weights


def _blur(n: int, sigma_px: float, device: torch.device) -> Tensor:
    """(n, n) Gaussian filter along one axis, normalized at the border."""
    steps = torch.arange(n, device=device, dtype=torch.float32)
    weights = torch.exp(-0.5 * ((steps[:, None] - steps[None, :]) / sigma_px) ** 2)
    return weights / weights.sum(dim=1, keepdim=True)


def _tone(counts: Tensor, detector: Detector) -> Tone:
    """Tone curve: gain only for floats, stretched to the format's range for integers."""
    if detector.pixel_format == "float32":
        if detector.gamma == 1.0:
            return Tone(0.0, 1.0, detector.gain, 1.0)
        low, high = (float(v) for v in counts.aminmax())
        return Tone(low, max(high - low, 1e-6), detector.gain, detector.gamma)
    # 16-bit detectors rarely fill their range; exported 8-bit pictures do.
    fill = 1.0 if detector.pixel_format == "uint8" else 0.1
    values = counts[::2, ::2].flatten()
    cut = round(0.5 * detector.clipped * (len(values) - 1))
    if cut == 0:
        low, high = (float(v) for v in values.aminmax())
    else:
        low, high = float(values.kthvalue(1 + cut).values), float(values.kthvalue(len(values) - cut).values)
    return Tone(low, max(high - low, 1e-6), fill * FULL_SCALE[detector.pixel_format], detector.gamma)

"""Dose and detector: expected counts to a recorded image, and the noise that a column stands in."""

from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

from atomseg.simulate.imaging_config import DetectorConfig
from atomseg.simulate.sampling import chance, integer, log_uniform, uniform

# Mean counts above which Poisson draws come from a normal distribution with the right skewness.
NORMAL_ABOVE = 30.0
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
    )


def record(
    expected: np.ndarray, peak_counts: float, detector: Detector, rng: np.random.Generator
) -> tuple[np.ndarray, Tone]:
    """Draw the image: Poisson last of the physics, then the electronics.

    Parameters
    ----------
    expected : numpy.ndarray
        (H, W) expected counts.
    peak_counts : float
        Counts at the peak of a full TM column, for quantities relative to it.
    detector : Detector
        What to apply.
    rng : numpy.random.Generator
        Randomness.

    Returns
    -------
    image : numpy.ndarray
        (H, W) float32 recorded values.
    tone : Tone
        What turns expected counts into recorded values.
    """
    counts = poisson(np.maximum(expected, 0.0), rng)
    normal = rng.standard_normal(expected.shape, dtype=np.float32)
    variance = (detector.excess_noise - 1.0) * counts + (detector.read_noise * peak_counts) ** 2
    counts += normal * np.sqrt(variance)
    if detector.afterglow_px > 0.0:
        keep = np.exp(-1.0 / detector.afterglow_px)
        counts = lfilter([1.0 - keep], [1.0, -keep], counts, axis=1, zi=counts[:, :1] * keep)[0].astype(np.float32)
    counts += detector.offset * peak_counts
    tone = _tone(counts, detector)
    image = tone(counts)
    if detector.pixel_format != "float32":
        image = np.clip(np.round(image), 0.0, FULL_SCALE[detector.pixel_format])
    return image.astype(np.float32), tone


def poisson(mean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """float32 Poisson draws: exact below `NORMAL_ABOVE`, above it a rounded normal with skewness (Cornish-Fisher).

    The second is several times faster; at 30 the two differ by less than 1 % in total variation.
    """
    bright = mean > NORMAL_ABOVE
    if not bright.any():
        return rng.poisson(mean).astype(np.float32)
    normal = rng.standard_normal(mean.shape, dtype=np.float32)
    counts = np.round(mean + np.sqrt(mean) * normal + (normal**2 - 1.0) / 6.0).astype(np.float32)
    dim = ~bright
    counts[dim] = rng.poisson(mean[dim])
    return np.asarray(counts)


def _tone(counts: np.ndarray, detector: Detector) -> Tone:
    """Tone curve: gain only for floats, stretched to the format's range for integers."""
    if detector.pixel_format == "float32":
        if detector.gamma == 1.0:
            return Tone(0.0, 1.0, detector.gain, 1.0)
        low, high = float(counts.min()), float(counts.max())
        return Tone(low, max(high - low, 1e-6), detector.gain, detector.gamma)
    # 16-bit detectors rarely fill their range; exported 8-bit pictures do.
    fill = 1.0 if detector.pixel_format == "uint8" else 0.1
    low, high = np.quantile(counts[::2, ::2], [0.5 * detector.clipped, 1.0 - 0.5 * detector.clipped])
    return Tone(float(low), max(float(high - low), 1e-6), fill * FULL_SCALE[detector.pixel_format], detector.gamma)

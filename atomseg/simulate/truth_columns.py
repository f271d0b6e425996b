"""The table of true columns: where they appear, how bright they are, how well they can be known."""

from __future__ import annotations

import numpy as np
import pandas as pd

from atomseg.simulate.detector import Detector, Tone
from atomseg.simulate.imaging import Imaging
from atomseg.simulate.resolve import visibility
from atomseg.simulate.scan import Scan
from atomseg.simulate.specimen import ATOM, INTERLAYER, OXYGEN, SPECIES_NAMES, Sites
from atomseg.types import ColumnFlag, Columns, Phase

FWHM_PER_SIGMA = float(2.0 * np.sqrt(2.0 * np.log(2.0)))
# A detector must find what the matched filter sees at five standard deviations: one false alarm in 3e6 trials.
REQUIRED_SNR = 5.0
REQUIRED_BORDER_NM = 0.1
# A column that a sudden jump cuts within this many standard deviations of its centre has no place of its own.
REQUIRED_JUMP_SIGMA = 2.0
REQUIRED_OCCUPANCY = 0.1


def column_table(
    sites: Sites, yx_px: np.ndarray, peak: np.ndarray, background: np.ndarray, *, imaging: Imaging, tone: Tone
) -> Columns:
    """Truth table of the columns inside the image.

    ``y_px``, ``x_px`` and ``y_nm``, ``x_nm`` are where a column appears: the centre of the Gaussian that fits its
    noise-free peak best. ``y_true_nm`` and ``x_true_nm`` are where it would appear without any error of the scan,
    mistilt or afterglow, from the first pixel of a perfect scan around the same centre.

    Parameters
    ----------
    sites : Sites
        Columns with species, occupancy and phase.
    yx_px : numpy.ndarray
        (N, 2) where they appear, pixels.
    peak, background : numpy.ndarray
        (N,) height of the own core and level it stands on (detector offset left out), expected counts.
    imaging : Imaging
        Sampling, column shape and dose.
    tone : Tone
        What turns expected counts into image values.
    """
    detector, covariance, peak_counts, scan = imaging.detector, imaging.covariance_px, imaging.peak_counts, imaging.scan
    offset = detector.offset * peak_counts
    ground = tone(background + offset)
    shown = imaging.shown_covariance_px
    # Low-pass filter and afterglow spread a peak; they neither add nor take information.
    left = imaging.peak_left
    snr = matched_filter_snr(peak, background, covariance, peak_counts, detector)
    sigma_px = crlb_px(peak, background, covariance, peak_counts, detector)
    values, vectors = np.linalg.eigh(shown * np.outer(scan.pixel_size_nm, scan.pixel_size_nm))
    pixel = np.asarray(scan.pixel_size_nm)
    theta = np.rad2deg(np.arctan2(vectors[0, 1], vectors[1, 1]))
    true_nm = sites.yx_nm + (np.asarray(scan.shape) - 1) / 2 * pixel
    n = len(peak)
    whole = scan.rows_to_jump(yx_px[:, 0]) >= REQUIRED_JUMP_SIGMA * np.sqrt(shown[0, 0])
    required = _required(sites, yx_px, snr * _visible(sites, yx_px, peak, shown), scan) & whole
    mixed = (sites.species == INTERLAYER) & (sites.occupancy >= REQUIRED_OCCUPANCY)
    table = pd.DataFrame(
        {
            "id": np.arange(n),
            "y_px": yx_px[:, 0],
            "x_px": yx_px[:, 1],
            "y_nm": yx_px[:, 0] * pixel[0],
            "x_nm": yx_px[:, 1] * pixel[1],
            "y_true_nm": true_nm[:, 0],
            "x_true_nm": true_nm[:, 1],
            "sigma_y_pm": sigma_px[:, 0] * pixel[0] * 1e3,
            "sigma_x_pm": sigma_px[:, 1] * pixel[1] * 1e3,
            "amplitude": tone(background + left * peak + offset) - ground,
            "background": ground,
            "fwhm_major_nm": np.full(n, FWHM_PER_SIGMA * np.sqrt(values[1])),
            "fwhm_minor_nm": np.full(n, FWHM_PER_SIGMA * np.sqrt(values[0])),
            "theta_deg": np.full(n, (theta + 90.0) % 180.0 - 90.0),
            "probability": np.ones(n),
            "flags": np.full(n, int(ColumnFlag.NONE)),
            "species": _categories(np.where(mixed, 4, sites.species), _SPECIES_LABELS),
            "occupancy": sites.occupancy,
            "phase": _categories(sites.phase, _PHASE_LABELS),
            "phase_alt": _categories(sites.phase_alt, _ALT_LABELS),
            "snr": snr,
            "required": required.astype(int),
        }
    )
    return Columns(table)


# Categories instead of strings: a table of thousands of columns is built for every training image.
_PHASE_LABELS = pd.CategoricalDtype([p.label for p in Phase])
_ALT_LABELS = pd.CategoricalDtype(["", *(p.label for p in Phase if p is not Phase.NONE)])
_SPECIES_LABELS = pd.CategoricalDtype(list(SPECIES_NAMES))


def _categories(codes: np.ndarray, labels: pd.CategoricalDtype[object]) -> pd.Categorical[object]:
    return pd.Categorical.from_codes(codes.astype(np.int8), dtype=labels)


def named_columns(columns: Columns) -> Columns:
    """The same table with plain strings for its categories, as tables that are written to files have them."""
    names = ["species", "phase", "phase_alt"]
    return Columns(columns.table.assign(**{name: columns.table[name].astype(str) for name in names}))


def _visible(sites: Sites, yx_px: np.ndarray, peak: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Visibility of each column among the others; oxygen, which no one resolves, neither counts nor disturbs."""
    seen = np.flatnonzero(sites.species != OXYGEN)
    result = np.zeros(len(peak))
    result[seen] = visibility(yx_px[seen], peak[seen], covariance)
    return result


def _required(sites: Sites, yx_px: np.ndarray, snr: np.ndarray, scan: Scan) -> np.ndarray:
    """Bool: bright enough against noise and neighbours, inside the image by a margin, and a cation column."""
    margin = REQUIRED_BORDER_NM / np.asarray(scan.pixel_size_nm)
    last = np.asarray(scan.shape) - 1.0
    inside = np.all((yx_px >= margin) & (yx_px <= last - margin), axis=1)
    dim = (sites.species == INTERLAYER) & (sites.occupancy < REQUIRED_OCCUPANCY)
    return np.asarray((snr >= REQUIRED_SNR) & inside & ~dim & (sites.species != OXYGEN) & sites.judged)


def noise_variance(level: np.ndarray, peak_counts: float, detector: Detector) -> np.ndarray:
    """Variance of a pixel with given expected counts, counts squared."""
    return np.asarray(detector.excess_noise * level + (detector.read_noise * peak_counts) ** 2)


def matched_filter_snr(
    peak: np.ndarray, background: np.ndarray, covariance: np.ndarray, peak_counts: float, detector: Detector
) -> np.ndarray:
    """Signal over noise of a matched filter on an isolated column of known width and background.

    The sum over pixels of a squared Gaussian of unit height is pi sqrt(det C); noise is that of the background level
    plus half of the peak, the mean level under the matched filter.
    """
    area = np.pi * np.sqrt(np.linalg.det(covariance))
    variance = noise_variance(background + 0.5 * peak, peak_counts, detector)
    return np.asarray(peak * np.sqrt(area / np.maximum(variance, 1e-12)))


def crlb_px(
    peak: np.ndarray, background: np.ndarray, covariance: np.ndarray, peak_counts: float, detector: Detector
) -> np.ndarray:
    """(N, 2) Cramer-Rao bound of the position (y, x) of an isolated column, pixels.

    Closed form of Rieger and Stallinga (10.1002/cphc.201300711) with the pixels as point samples; read noise counts as
    background, excess noise multiplies the variance.
    """
    total = 2.0 * np.pi * np.sqrt(np.linalg.det(covariance)) * np.maximum(peak, 1e-9)
    read = (detector.read_noise * peak_counts) ** 2 / detector.excess_noise
    beta = (background + read) / np.maximum(peak, 1e-9)
    factor = 1.0 + 4.0 * beta + np.sqrt(2.0 * beta / (1.0 + 4.0 * beta))
    variance = np.diag(covariance)[None, :] * (detector.excess_noise * factor / total)[:, None]
    return np.asarray(np.sqrt(variance))


def is_listed(sites: Sites) -> np.ndarray:
    """Bool: columns that belong in a truth table (all of them: the unlisted lines of tilted grains are not columns)."""
    return np.asarray(sites.species <= ATOM)

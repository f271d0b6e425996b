"""Is this an image that phases may be read from? Each check gives a value, a verdict and a sentence."""

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from atomseg.classify.config import IN_PLANE_PERIOD_NM
from atomseg.classify.frames import Frames
from atomseg.types import Check, Columns, Micrograph, Verdict

COLUMN_SIGMA_NM = 0.05
# Skewness of dark atoms on bright ground is below this...
DARK_SKEWNESS = -0.25
# ...and further below zero than this many standard deviations of noise: a small noisy image is skewed by chance.
CHANCE_SIGMAS = 4.0
# Below this many columns no lattice can be told from chance.
FEWEST_COLUMNS = 30
# Share of columns in a frame below which an image is not one of a layered oxide,
JUDGED_SHARE = 0.3
# and below which the user is told that part of it is not.
MOST_SHARE = 0.8
# Below this angle a scan line stays within one layer (0.47 nm) for more than 5 nm.
PARALLEL_DEG = 5.0


def contrast_check(micrograph: Micrograph) -> Check:
    """Whether columns are bright on dark ground (HAADF) or the reverse (ABF, BF).

    The value is the skewness of the image filtered to the size of a column: bright isolated peaks make it positive,
    dark ones negative, whatever gain and offset. Noise alone gives zero on average; n independent values scatter by
    sqrt(6 / n), and third powers of noise smoothed by a Gaussian of width s are independent beyond an area of
    4 pi s² / 3 (the integral of the third power of its correlation).
    """
    py, px = micrograph.calibration.pixel_size_nm
    sigma = (COLUMN_SIGMA_NM / py, COLUMN_SIGMA_NM / px)
    image = micrograph.image
    band = gaussian_filter(image, sigma) - gaussian_filter(image, [3.0 * s for s in sigma])
    band = band - band.mean()
    spread = float(band.std())
    skew = float((band**3).mean() / spread**3) if spread > 0 else 0.0
    independent = image.size * py * px / (4.0 / 3.0 * np.pi * COLUMN_SIGMA_NM**2)
    if skew < min(DARK_SKEWNESS, -CHANCE_SIGMAS * float(np.sqrt(6.0 / independent))):
        return Check(
            "contrast",
            round(skew, 3),
            Verdict.STOP,
            f"atoms are dark on bright ground (skewness {skew:.2f}; HAADF is positive): ABF or bright-field contrast, "
            "in which bright spots are no columns; give the HAADF image",
        )
    return Check("contrast", round(skew, 3), Verdict.OK)


def column_check(columns: Columns) -> Check:
    """Enough columns for a lattice."""
    n = len(columns)
    if n < FEWEST_COLUMNS:
        return Check(
            "columns", n, Verdict.STOP, f"{n} columns found, at least {FEWEST_COLUMNS} are needed to judge a lattice"
        )
    return Check("columns", n, Verdict.OK)


def lattice_checks(columns: Columns, frames: Frames) -> list[Check]:
    """Whether the lattice is a layered oxide's down the close-packed zone, and agrees with the calibration."""
    follows = frames.domain >= 0
    share = float(follows.mean()) if len(columns) else 0.0
    value = round(share, 3)
    if share < JUDGED_SHARE:
        return [Check("lattice", value, Verdict.STOP, _what_else(columns))]
    checks = []
    if share < MOST_SHARE:
        message = f"{100 * (1 - share):.0f} % of the columns follow no layered-oxide lattice and are unresolved"
        checks.append(Check("lattice", value, Verdict.WARN, message))
    else:
        checks.append(Check("lattice", value, Verdict.OK))
    return [*checks, scale_check(frames), scan_check(frames)]


def scan_check(frames: Frames) -> Check:
    """Angle between the layers and the fast scan axis: parallel to it, line jitter shifts whole rows of columns."""
    row = np.median(frames.row[frames.domain == 0], axis=0)
    angle = float(np.rad2deg(np.arctan2(abs(row[0]), abs(row[1]))))
    if angle < PARALLEL_DEG:
        return Check(
            "scan_angle",
            round(angle, 1),
            Verdict.WARN,
            f"the layers lie {angle:.1f}° from the fast scan axis: line jitter shifts whole rows of columns there and "
            "can look like a stacking fault; trust single O1 faults only if a scan at another rotation shows them too",
        )
    return Check("scan_angle", round(angle, 1), Verdict.OK)


def scale_check(frames: Frames) -> Check:
    """In-plane period against that of the known phases: the lattice is the ruler."""
    main = frames.domain == 0
    period = float(np.median(np.linalg.norm(frames.row[main], axis=1)))
    off = period / IN_PLANE_PERIOD_NM - 1
    if abs(off) > 0.03:
        return Check(
            "scale",
            round(period, 4),
            Verdict.WARN,
            f"the lattice reads {period:.4f} nm along its rows where layered oxides have {IN_PLANE_PERIOD_NM:.4f} nm: "
            f"the pixel size may be {100 * off:+.1f} % off; every length here uses the pixel size as given",
        )
    return Check("scale", round(period, 4), Verdict.OK)


def _what_else(columns: Columns) -> str:
    """Sentence for a lattice that is not judged."""
    spacing, _ = cKDTree(columns.yx_nm).query(columns.yx_nm, k=2)
    nearest = float(np.median(spacing[:, 1]))
    return (
        "the columns are not the lattice of a layered oxide down its close-packed zone (columns 0.25 nm apart in rows, "
        f"layers 0.47 nm apart and shifted by 0 or 1/3; nearest neighbours here: {nearest:.3f} nm): phases are not "
        "judged; another material or zone axis, a wrong pixel size, or a scan too noisy to see the stacking"
    )

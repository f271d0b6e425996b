"""Is this an image that phases may be read from? Each check gives a value, a verdict and a sentence."""

import numpy as np
from scipy.ndimage import gaussian_filter

from atomseg.classify.config import IN_PLANE_PERIOD_NM
from atomseg.classify.frames import Frames
from atomseg.classify.scale import suggest_pixel_size
from atomseg.classify.zone import PlaneLattice, ZoneFamily, plane_lattice, zone_family
from atomseg.imaging import block_means, block_variance_px
from atomseg.types import Calibration, Check, Columns, Micrograph, Verdict

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
# Difference of given and implied pixel size beyond which the implied one is offered: up to it, the lattice would have
# been followed (`ClassifyConfig.scale_tolerance`).
SIZE_OFFERED = 0.07
# Below this angle a scan line stays within one layer (0.47 nm) for more than 5 nm.
PARALLEL_DEG = 5.0
# Difference of metadata and lattice that the user is told: scan calibrations are commonly this far off.
SCALE_TOLD = 0.03
# Layer spacing over in-plane period: the phases and states of charge span this; outside, the axes differ in scale.
LAYERS_PER_PERIOD, RATIO_SPAN = 1.90, (1.79, 1.97)
# Shear that scans have after ordinary drift; above it angles of facets are off by more than their own error.
SHEAR_TOLD_DEG = 1.5


def contrast_check(micrograph: Micrograph) -> Check:
    """Whether columns are bright on dark ground (HAADF) or the reverse (ABF, BF).

    The value is the skewness of the image filtered to the size of a column: bright isolated peaks make it positive,
    dark ones negative, whatever gain and offset. Noise alone gives zero on average; n independent values scatter by
    sqrt(6 / n), and third powers of noise smoothed by a Gaussian of width s are independent beyond an area of
    4 pi s² / 3 (the integral of the third power of its correlation).
    """
    band = _light_of_columns(micrograph)
    spread = float(band.std())
    skew = float((band**3).mean() / spread**3) if spread > 0 else 0.0
    area_nm2 = micrograph.image.size * float(np.prod(micrograph.calibration.pixel_size_nm))
    independent = area_nm2 / (4.0 / 3.0 * np.pi * COLUMN_SIGMA_NM**2)
    if skew < min(DARK_SKEWNESS, -CHANCE_SIGMAS * float(np.sqrt(6.0 / independent))):
        return Check(
            "contrast",
            round(skew, 3),
            Verdict.STOP,
            f"atoms are dark on bright ground (skewness {skew:.2f}; HAADF is positive): ABF or bright-field contrast, "
            "in which bright spots are no columns; give the HAADF image",
        )
    return Check("contrast", round(skew, 3), Verdict.OK)


def _light_of_columns(micrograph: Micrograph) -> np.ndarray:
    """The image filtered to the size of a column, of mean zero, on blocks of pixels where those are fine."""
    pixel_nm = micrograph.calibration.pixel_size_nm
    # The filter takes out what finer pixels than its width alone hold.
    rows, cols = (max(1, int(COLUMN_SIGMA_NM / p)) for p in pixel_nm)
    block = (min(rows, micrograph.shape[0]), min(cols, micrograph.shape[1]))
    # The averaging is the first part of either filter.
    narrow, wide = (
        [
            np.sqrt((sigma_nm / p) ** 2 - done) / n
            for p, done, n in zip(pixel_nm, block_variance_px(block), block, strict=True)
        ]
        for sigma_nm in (COLUMN_SIGMA_NM, 3.0 * COLUMN_SIGMA_NM)
    )
    blocks = block_means(micrograph.image, block)
    band = gaussian_filter(blocks, narrow) - gaussian_filter(blocks, wide)
    return np.asarray(band - band.mean())


def column_check(columns: Columns, micrograph: Micrograph) -> Check:
    """Enough columns for a lattice."""
    n = len(columns)
    if n < FEWEST_COLUMNS:
        return Check(
            "columns",
            n,
            Verdict.STOP,
            f"{n} columns found, at least {FEWEST_COLUMNS} are needed to judge a lattice; no crystal in view or "
            f"in focus, or a wrong pixel size ({_size(micrograph.calibration)}){_other_size(micrograph)}",
        )
    return Check("columns", n, Verdict.OK)


def lattice_checks(columns: Columns, frames: Frames, micrograph: Micrograph) -> list[Check]:
    """Whether the lattice is a layered oxide's down the close-packed zone, and agrees with the calibration."""
    follows = frames.domain >= 0
    share = float(follows.mean()) if len(columns) else 0.0
    value = round(share, 3)
    if share < JUDGED_SHARE:
        seen = plane_lattice(columns.yx_nm)
        family = zone_family(seen)
        message = _not_judged(seen, family, micrograph.calibration) + _other_size(micrograph)
        # Without frames to follow, the family's geometry alone is no close-packed zone.
        if family is ZoneFamily.CLOSE_PACKED:
            family = ZoneFamily.OTHER
        return [Check("lattice", value, Verdict.STOP, message), Check("zone_axis", str(family), Verdict.STOP, message)]
    checks = []
    if share < MOST_SHARE:
        message = f"{100 * (1 - share):.0f} % of the columns follow no layered-oxide lattice and are unresolved"
        checks.append(Check("lattice", value, Verdict.WARN, message))
    else:
        checks.append(Check("lattice", value, Verdict.OK))
    zone = Check("zone_axis", str(ZoneFamily.CLOSE_PACKED), Verdict.OK)
    return [*checks, zone, scale_check(frames, micrograph.calibration), *affine_checks(frames), scan_check(frames)]


def affine_checks(frames: Frames) -> list[Check]:
    """Anisotropy and shear of the scan, in the frame of the main domain.

    The anisotropy is the ratio of layer spacing to in-plane period over that of the discharged oxide, so that the state
    of charge (a few per cent) is in it too; the shear is the part of the stacking shift that is no multiple of 1/3.
    """
    main = frames.domain == 0
    period = float(np.median(np.linalg.norm(frames.row[main], axis=1)))
    layer = float(np.median(frames.layer_nm[main]))
    ratio = layer / period
    told = ""
    if not RATIO_SPAN[0] <= ratio <= RATIO_SPAN[1]:
        told = (
            f"layers are {ratio:.3f} in-plane periods apart where layered oxides have {RATIO_SPAN[0]} to "
            f"{RATIO_SPAN[1]}: the two scan axes differ in scale, or the crystal is strained; lengths across the "
            "layers are uncertain by as much"
        )
    stretch = Check("anisotropy", round(ratio / LAYERS_PER_PERIOD, 4), Verdict.WARN if told else Verdict.OK, told)
    offset = float(frames.shift_offset[0].coefficients[0])
    # Without its sign, which mirrors flip.
    angle = abs(float(np.rad2deg(np.arctan(offset * period / layer))))
    told = ""
    if angle > SHEAR_TOLD_DEG:
        told = (
            f"the scan is sheared by {angle:.1f}° along the layers: phases are judged with it taken out, lengths and "
            "angles are those of the image as it is"
        )
    return [stretch, Check("shear", round(angle, 2), Verdict.WARN if told else Verdict.OK, told)]


def scan_check(frames: Frames) -> Check:
    """Angle between the layers and the fast scan axis: parallel to it, line jitter shifts whole rows of columns."""
    row = frames.typical_row(0)
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


def scale_check(frames: Frames, calibration: Calibration) -> Check:
    """In-plane period against that of the known phases: the lattice is the ruler."""
    main = frames.domain == 0
    period = float(np.median(np.linalg.norm(frames.row[main], axis=1)))
    off = period / IN_PLANE_PERIOD_NM - 1
    if abs(off) > SCALE_TOLD:
        given, implied = 1e3 * calibration.mean_nm, 1e3 * calibration.mean_nm / (1 + off)
        return Check(
            "scale",
            round(period, 4),
            Verdict.WARN,
            f"the lattice reads {period:.4f} nm along its rows where layered oxides have {IN_PLANE_PERIOD_NM:.4f} nm: "
            f"pixels are {given:.2f} pm by {calibration.origin} and {implied:.2f} pm by the lattice ({100 * off:+.1f} "
            f"%); every length here uses {given:.2f} pm, as given (rocksalt alone reads +2.7 %)",
        )
    return Check("scale", round(period, 4), Verdict.OK)


def reference_check(frames: Frames, referenced: np.ndarray, *, at_edge: bool) -> Check:
    """Whether bright interlayers may be called rocksalt: in a crystal that shows its layers somewhere, or its surface.

    Layered crystal down [-4 -2 1] has Li and TM in every column on a rhomb of 0.2497 nm and 70.4°, rocksalt has one of
    0.2558 nm and 70.5°, and so have fcc metals at a scale that is a few per cent off; only calibrated intensity could
    tell them. Dim interlayers in the same crystal identify it. Where a surface is in view and its rows
    alternate slightly in brightness, a layer that is deeper than the image is called rocksalt with a warning.

    Parameters
    ----------
    frames : Frames
        Frames as found.
    referenced : numpy.ndarray
        (D,) bool, which of the domains show layers.
    at_edge : bool
        No domain does, but the crystal ends inside the image and its rows alternate slightly in brightness.
    """
    known = frames.domain >= 0
    share = float(np.append(referenced, False)[frames.domain[known]].mean()) if known.any() else 0.0
    value = round(share, 4)
    if referenced.all():
        return Check("layered_reference", value, Verdict.OK)
    if at_edge:
        return Check(
            "layered_reference",
            value,
            Verdict.WARN,
            "not a single layered region in view: rocksalt below this surface rests on a slight alternation of its "
            "rows; an image that reaches the bulk would tell more",
        )
    message = (
        f"{100 * (1 - share):.0f} % of the lattice's columns stand in crystals without a single layered region in "
        "view: all-bright there can be rocksalt, layered crystal seen down another <110> zone ([-4 -2 1]) or another "
        "cubic crystal, which geometry alone does not tell; unresolved"
    )
    return Check("layered_reference", value, Verdict.WARN if referenced.any() else Verdict.STOP, message)


def _size(calibration: Calibration) -> str:
    return f"{1e3 * calibration.mean_nm:.4g} pm, from {calibration.origin}"


def _other_size(micrograph: Micrograph) -> str:
    """What to say of a pixel size that makes this a layered oxide, where that is not the given one; empty otherwise."""
    size = suggest_pixel_size(micrograph.image)
    if size is None or abs(size / micrograph.calibration.mean_nm - 1) < SIZE_OFFERED:
        return ""
    return (
        f"; the lattice fits pixels of {1e3 * size:.2f} pm: check the scale, and if you agree give "
        f"--pixel-size-nm {size:.5f} (pixel_size_nm= in Python)"
    )


def _not_judged(seen: PlaneLattice | None, family: ZoneFamily, calibration: Calibration) -> str:
    """Sentence for a lattice that is not judged."""
    if seen is None:
        return (
            "the columns repeat along no two directions: no lattice to judge; amorphous, noise, many small grains, a "
            f"scan too noisy, or a wrong pixel size ({_size(calibration)})"
        )
    size = f"{seen.short_nm:.3f} x {seen.long_nm:.3f} nm at {seen.angle_deg:.0f}°"
    if family is ZoneFamily.PERP_112:
        return (
            f"the columns' lattice is {size}, a layered oxide's down <112>: stacking is not measurable, since O3, its "
            "twin and O1 project onto the same rectangle there; phases are not judged; tilt to a close-packed zone"
        )
    if family is ZoneFamily.C_AXIS:
        return (
            f"the columns' lattice is {size}, a layered oxide's down its c axis or another hexagonal one: O3 and "
            "rocksalt have the same pattern there, so phases are not measurable; tilt to a close-packed zone"
        )
    return (
        f"the columns' lattice is {size}, not a layered oxide's down its close-packed zone (columns 0.25 nm apart in "
        "rows, layers 0.47 nm apart and shifted by 0 or 1/3): phases are not judged; another material or zone axis, a "
        f"wrong pixel size ({_size(calibration)}), or a scan too noisy to see the stacking"
    )

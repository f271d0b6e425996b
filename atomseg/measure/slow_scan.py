"""Whether strain varies as a drift of the specimen makes it vary: from scan row to scan row."""

import numpy as np
import pandas as pd

from atomseg.measure.lattice import LocalLattice
from atomseg.measure.strain import Reference, deformation

# Quantities of lattice.csv that drift changes, and what they are called.
DRIFTING = {
    "strain_cc": "the strain across the layers",
    "strain_ip": "the strain along the rows",
    "shear": "the shear between the layers",
}
# The position along the slow scan explains more than this of the variance ...
LEAST_SHARE = 0.5
# ... twice as much as that along the fast one, which an oblique gradient of strain does not do ...
LEAST_RATIO = 2.0
# ... and the strain that it explains is more than the noise of its mean over a row (rms).
LEAST_STRAIN = 0.001
# Drift moves scan rows against each other and leaves them as they are: what runs along a row varies less than this
# share of what leads from row to row. A bend or a dislocation changes the rows as well.
MOST_WITHIN_ROWS = 0.35
_BIN_NM = 0.5
_FEWEST = 100


def slow_scan_shares(yx_nm: np.ndarray, table: pd.DataFrame, phase: np.ndarray) -> dict[str, float | None]:
    """Share of the variance within the phases that the position along the slow scan explains.

    Parameters
    ----------
    yx_nm : numpy.ndarray
        (N, 2) columns; y is the slow scan.
    table : pandas.DataFrame
        `LATTICE_FIELDS` of the columns.
    phase : numpy.ndarray
        (N,) int phase codes: a phase has its own lattice, and where it lies is no drift.

    Returns
    -------
    dict
        By name of `DRIFTING`; None for fewer than 100 columns.
    """
    return {name: _explained(yx_nm[:, 0], table[name].to_numpy(float), phase)[0] for name in DRIFTING}


def along_slow_scan(
    yx_nm: np.ndarray, table: pd.DataFrame, phase: np.ndarray, lattice: LocalLattice, reference: Reference | None
) -> list[str]:
    """Names of `DRIFTING` that vary mostly along the slow scan, in a crystal whose scan rows keep their shape.

    Parameters
    ----------
    yx_nm, table, phase
        As for `slow_scan_shares`.
    lattice : LocalLattice
        Local lattices of the columns.
    reference : Reference or None
        What strain is relative to.
    """
    if reference is None or not _rows_keep_their_shape(yx_nm[:, 0], phase, lattice, reference):
        return []
    found = []
    for name in DRIFTING:
        value = table[name].to_numpy(float)
        slow, rms = _explained(yx_nm[:, 0], value, phase)
        fast, _ = _explained(yx_nm[:, 1], value, phase)
        if slow is None or fast is None:
            continue
        if slow > LEAST_SHARE and slow > LEAST_RATIO * fast and rms > LEAST_STRAIN:
            found.append(name)
    return found


def drift_warning(names: list[str]) -> tuple[str, ...]:
    """A sentence about the quantities that `along_slow_scan` found."""
    if not names:
        return ()
    told = " and ".join(DRIFTING[name] for name in names)
    varies = "varies" if len(names) == 1 else "vary"
    return (
        f"{told} {varies} mostly along the slow scan direction, which is what drift of the specimen looks like: "
        "believe only what a scan at another rotation shows too",
    )


def _rows_keep_their_shape(y_nm: np.ndarray, phase: np.ndarray, lattice: LocalLattice, reference: Reference) -> bool:
    """Whether the mean deformation of a scan row's own direction varies little from row to row."""
    gradient = deformation(lattice, reference)
    # A domain that is turned has directions of its own; rows have no sense, so that half a turn is none.
    gradient[lattice.domain != lattice.domain[reference.member][0]] = np.nan
    gradient *= np.sign(np.trace(gradient, axis1=1, axis2=2))[:, None, None]
    rms = np.array([[_explained(y_nm, gradient[:, i, axis], phase)[1] for i in range(2)] for axis in range(2)])
    between, within = np.hypot(rms[:, 0], rms[:, 1])
    return bool(within < MOST_WITHIN_ROWS * between)


def _explained(at_nm: np.ndarray, value: np.ndarray, phase: np.ndarray) -> tuple[float | None, float]:
    """Share of the variance that the position explains (adjusted for the number of bins), and its rms."""
    known = np.isfinite(value)
    if known.sum() < _FEWEST:
        return None, 0.0
    value, phase, at = value[known], phase[known], at_nm[known]
    for code in np.unique(phase):
        value[phase == code] -= np.median(value[phase == code])
    # Cores of dislocations are no part of the field around them.
    value = np.clip(value, *np.quantile(value, [0.01, 0.99]))
    value -= value.mean()
    place = ((at - at.min()) // _BIN_NM).astype(int)
    count = np.bincount(place)
    mean = (np.bincount(place, value) / np.maximum(count, 1))[place]
    total = float((value**2).sum()) / (len(value) - 1)
    free = len(value) - int((count > 0).sum())
    if total <= 0.0 or free <= 0:
        return None, 0.0
    rest = float(((value - mean) ** 2).sum()) / free
    return 1.0 - rest / total, float(np.sqrt((mean**2).mean()))

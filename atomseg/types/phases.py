"""Phases: their codes, the lattice frames they are judged in, and the map."""

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
import pandas as pd

from atomseg.types.checks import Check
from atomseg.types.layers import LAYER_FIELDS, Stacking

# Classification part of columns.csv.
PHASE_FIELDS = (
    "phase",
    "p_layered",
    "p_rocksalt",
    "p_o1",
    "p_unresolved",
    "row_id",
    "stacking_shift",
    "interlayer_occupancy",
    "interlayer_occupancy_err",
)


class Phase(IntEnum):
    """Phase codes, the same in every file and table."""

    NONE = 0
    LAYERED = 1
    ROCKSALT = 2
    O1 = 3
    UNRESOLVED = 4

    @property
    def label(self) -> str:
        """Name for tables and legends."""
        return {0: "none", 1: "R-3m", 2: "rocksalt", 3: "O1", 4: "unresolved"}[int(self)]

    @property
    def key(self) -> str:
        """Name for JSON keys."""
        return {0: "none", 1: "layered", 2: "rocksalt", 3: "o1", 4: "unresolved"}[int(self)]


@dataclass(frozen=True)
class LatticeFrame:
    """Mean frame of one crystal domain, close-packed zone.

    Parameters
    ----------
    row_yx_nm : tuple of float
        Vector (y, x) along a cation row, its length the in-plane period.
    stack_yx_nm : tuple of float
        Vector (y, x) from one cation row to the next, normal to the rows: its length is half the TM layer spacing.
    n_columns : int
        Columns that follow this frame.
    """

    row_yx_nm: tuple[float, float]
    stack_yx_nm: tuple[float, float]
    n_columns: int


@dataclass(frozen=True)
class PhaseMap:
    """Phases of one micrograph.

    Parameters
    ----------
    labels : numpy.ndarray
        (H, W) uint8 phase codes on the input's pixel grid.
    confidence : numpy.ndarray
        (H, W) float32 probability of the named phase; 1 where the label is none.
    occupancy : numpy.ndarray
        (H, W) float32 interlayer occupancy (TM fraction of the interlayer sites), NaN where it can not be measured.
    columns : pandas.DataFrame
        One row a column, same order as the `Columns` it was made from, `PHASE_FIELDS`.
    gaps : pandas.DataFrame
        One row a gap between two successive TM columns of neighbouring rows: ``y_nm, x_nm`` (centre), ``row_lower,
        row_upper`` (row ids), ``shift`` (signed, in row periods), ``shift_err``, ``occupancy``, ``occupancy_err``,
        ``phase``.
    frames : tuple of LatticeFrame
        Domains found, the largest first; empty when the lattice is not a layered oxide down the close-packed zone.
    checks : tuple of Check
        Fitness checks made on the way.
    layers : pandas.DataFrame
        One row a pair of successive TM rows, `LAYER_FIELDS`; empty where there are none.
    stacking : Stacking
        What the layers are together.
    scan_corrected_nm : numpy.ndarray or None
        (N, 2) positions (y, x) of the columns without what all columns of a scan line are displaced by, as far as it
        changes within 2 nm of height; None where it was not asked for, and in a result that was read back.
    """

    labels: np.ndarray
    confidence: np.ndarray
    occupancy: np.ndarray
    columns: pd.DataFrame
    gaps: pd.DataFrame
    frames: tuple[LatticeFrame, ...] = ()
    checks: tuple[Check, ...] = ()
    layers: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(LAYER_FIELDS), dtype=float))
    stacking: Stacking = field(default_factory=Stacking)
    scan_corrected_nm: np.ndarray | None = None

    def fractions(self) -> dict[str, float]:
        """Area of each phase as a fraction of the crystal, by `Phase.key`; empty when there is no crystal."""
        counts = {p.key: int((self.labels == p).sum()) for p in Phase if p is not Phase.NONE}
        total = sum(counts.values())
        return {key: count / total for key, count in counts.items()} if total else {}

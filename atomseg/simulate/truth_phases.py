"""True phases: of pixels, columns and gaps."""

import numpy as np
import pandas as pd

from atomseg.simulate.scan import Scan
from atomseg.simulate.structure import Structure
from atomseg.types import Columns, Phase, PhaseMap
from atomseg.types.phases import PHASE_FIELDS

GAP_FIELDS = ("y_nm", "x_nm", "row_lower", "row_upper", "shift", "shift_err", "occupancy", "occupancy_err", "phase")


def crystal_mask(structure: Structure, scan: Scan) -> np.ndarray:
    """(H, W) bool, True inside the crystal's faces."""
    if structure.kind == "nothing":
        return np.zeros(scan.shape, bool)
    if not structure.outline.faces:
        return np.ones(scan.shape, bool)
    y, x = scan.axes_nm()
    return np.asarray(np.max([face.depth_grid(y, x) for face in structure.outline.faces], axis=0) > 0)


def empty_phases(shape: tuple[int, int], crystal: np.ndarray, columns: Columns) -> PhaseMap:
    """A phase map that only says where crystal is."""
    labels = np.where(crystal, Phase.UNRESOLVED, Phase.NONE).astype(np.uint8)
    return PhaseMap(
        labels=labels,
        confidence=np.ones(shape, np.float32),
        occupancy=np.full(shape, np.nan, np.float32),
        columns=pd.DataFrame(columns=list(PHASE_FIELDS), index=range(0)),
        gaps=pd.DataFrame(columns=list(GAP_FIELDS), index=range(0)),
    )


def phase_map(structure: Structure, scan: Scan, columns: Columns, crystal: np.ndarray) -> PhaseMap:
    """True phase of every pixel."""
    return empty_phases(scan.shape, crystal, columns)

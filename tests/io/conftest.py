"""A small image and a small complete result, for the tests of reading and writing."""

import numpy as np
import pandas as pd
import pytest

from atomseg.types import (
    AnalysisRecord,
    Calibration,
    CalibrationOrigin,
    Check,
    Columns,
    LatticeFrame,
    Micrograph,
    PhaseMap,
    Provenance,
    ReconstructionProfile,
    ThicknessSummary,
    Verdict,
)
from atomseg.types.columns import LOCALIZATION_FIELDS
from atomseg.types.phases import PHASE_FIELDS
from atomseg.types.reconstruction import FAULT_FIELDS, PROFILE_FIELDS

SHAPE = (48, 60)


@pytest.fixture
def counts() -> np.ndarray:
    """(48, 60) uint16 with a different value in nearly every pixel, so that any mix-up of axes or bytes shows."""
    return np.random.default_rng(1).integers(0, 4000, SHAPE, dtype=np.uint16)


def _localized() -> pd.DataFrame:
    table = pd.DataFrame({name: np.linspace(1.0, 2.0, 4) + i for i, name in enumerate(LOCALIZATION_FIELDS)})
    table["id"] = np.arange(4)
    table["y_px"], table["x_px"] = [1.25, 10.0, 20.5, 47.0], [2.125, 30.0, 59.2, 5.0]
    table["flags"] = [0, 1, 1 | 8, 32]
    table["sigma_x_pm"] = [1.0, 2.0, np.nan, 4.0]
    return table


def _phases() -> PhaseMap:
    rng = np.random.default_rng(2)
    columns = pd.DataFrame({name: np.linspace(0.1, 0.4, 4) for name in PHASE_FIELDS})
    columns["phase"], columns["row_id"] = [1, 2, 3, 4], [0, 0, 1, -1]
    columns["stacking_shift"] = [0.3333, -0.3333, 0.0, np.nan]
    gaps = pd.DataFrame(
        {"y_nm": [0.1], "x_nm": [0.2], "row_lower": [0], "row_upper": [1], "shift": [1 / 3], "phase": [1]}
    )
    occupancy = rng.random(SHAPE, dtype=np.float32)
    occupancy[:5] = np.nan
    return PhaseMap(
        labels=rng.integers(0, 5, SHAPE, dtype=np.uint8),
        confidence=rng.random(SHAPE, dtype=np.float32),
        occupancy=occupancy,
        columns=columns,
        gaps=gaps,
        frames=(LatticeFrame((0.01, 0.287), (-0.236, 0.008), 77),),
        checks=(Check("lattice", 0.93, Verdict.OK), Check("contrast", None, Verdict.WARN, "low contrast")),
    )


def _thickness() -> ReconstructionProfile:
    points = pd.DataFrame({name: np.array([0.5, 1.5]) + i for i, name in enumerate(PROFILE_FIELDS)})
    points["surface_id"], points["event"], points["reason"] = [0, 0], [1, 0], ["", "border"]
    faults = pd.DataFrame({name: np.array([2.5]) for name in FAULT_FIELDS})
    faults["fault_id"], faults["row_lower"], faults["row_upper"], faults["ends_in_view"] = [0], [3], [4], [1]
    depth = np.full(SHAPE, np.nan, dtype=np.float32)
    depth[10:, :] = np.arange(38, dtype=np.float32)[:, None] * 0.02
    summary = ThicknessSummary(4.2, 4.1, 3.0, 6.0, 3.9, 4.6, False, 0.25, None, "thin", {"thin": 0.9, "thick": 0.0}, 2)
    return ReconstructionProfile(points, faults, depth, summary, {0: summary}, ("short surface",))


@pytest.fixture
def record(counts: np.ndarray) -> AnalysisRecord:
    """A complete result with NaN, flags, every phase, censoring and non-ASCII text in it; its input is an array."""
    phases = _phases()
    return AnalysisRecord(
        micrograph=Micrograph(
            counts.astype(np.float32),
            Calibration((0.02, 0.021), CalibrationOrigin.USER),
            name="particle",
            sha256="ab" * 32,
            metadata={"title": "Kathode µ"},
            warnings=("from the reader",),
        ),
        localized=Columns(_localized()),
        phases=phases,
        thickness=_thickness(),
        restored=np.random.default_rng(3).random(SHAPE, dtype=np.float32),
        checks=phases.checks,
        warnings=("from the reader", "low contrast"),
        provenance=Provenance(
            "0.1", None, "unet.a", "cd" * 32, {"infer": {"tile": 512, "pair": (1, 2)}}, {"numpy": "2"}, "cpu", 1.5
        ),
    )

"""What flows between the stages: plain typed records, the same for truth and for prediction."""

from atomseg.types.analysis import AnalysisRecord, Provenance
from atomseg.types.calibration import Calibration, CalibrationOrigin
from atomseg.types.checks import Check, Verdict
from atomseg.types.columns import Columns
from atomseg.types.flags import ColumnFlag, decode_flags
from atomseg.types.lattice import LatticeMaps
from atomseg.types.layers import Stacking
from atomseg.types.micrograph import Micrograph
from atomseg.types.phases import LatticeFrame, Phase, PhaseMap
from atomseg.types.prediction import Prediction
from atomseg.types.reconstruction import ReconstructionProfile, SurfaceKind, ThicknessClass, ThicknessSummary
from atomseg.types.scene import Scene
from atomseg.types.stage import StageConfig

__all__ = [
    "AnalysisRecord",
    "Calibration",
    "CalibrationOrigin",
    "Check",
    "ColumnFlag",
    "Columns",
    "LatticeFrame",
    "LatticeMaps",
    "Micrograph",
    "Phase",
    "PhaseMap",
    "Prediction",
    "Provenance",
    "ReconstructionProfile",
    "Scene",
    "Stacking",
    "StageConfig",
    "SurfaceKind",
    "ThicknessClass",
    "ThicknessSummary",
    "Verdict",
    "decode_flags",
]

"""PhaseMap -> ReconstructionProfile: surface, depth, thickness with censoring, faults."""

from atomseg.measure.config import MeasureConfig
from atomseg.measure.stage import measure

__all__ = ["MeasureConfig", "measure"]

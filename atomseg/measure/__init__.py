"""PhaseMap -> ReconstructionProfile: surface, depth, thickness with censoring, faults; Columns -> LatticeMaps."""

from atomseg.measure.config import MeasureConfig
from atomseg.measure.lattice_config import LatticeConfig
from atomseg.measure.lattice_stage import measure_lattice
from atomseg.measure.stage import measure, unlike

__all__ = ["LatticeConfig", "MeasureConfig", "measure", "measure_lattice", "unlike"]

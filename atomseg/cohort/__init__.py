"""Groups of particles: thickness, phases and faults with their hierarchy and their censoring."""

from atomseg.cohort.config import CohortConfig
from atomseg.cohort.gather import Observations, gather
from atomseg.cohort.manifest import (
    Assignment,
    Manifest,
    assign_by_folder,
    assign_by_manifest,
    parse_manifest,
)
from atomseg.cohort.result import (
    CohortStatistics,
    Counts,
    Difference,
    GroupStatistics,
    OutcomeEstimate,
    ParticleValues,
    ThicknessCurve,
)
from atomseg.cohort.stage import cohort_statistics
from atomseg.cohort.tables import cohort_files, cohort_text

__all__ = [
    "Assignment",
    "CohortConfig",
    "CohortStatistics",
    "Counts",
    "Difference",
    "GroupStatistics",
    "Manifest",
    "Observations",
    "OutcomeEstimate",
    "ParticleValues",
    "ThicknessCurve",
    "assign_by_folder",
    "assign_by_manifest",
    "cohort_files",
    "cohort_statistics",
    "cohort_text",
    "gather",
    "parse_manifest",
]

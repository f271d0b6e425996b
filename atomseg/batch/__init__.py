"""Many micrographs: which, where their results go, in how many processes, and what became of each."""

from atomseg.batch.plan import Job, plan_jobs, prepare_output
from atomseg.batch.run import run_jobs
from atomseg.batch.table import SUMMARY_FIELDS, CohortTable, read_summary_table
from atomseg.batch.work import BatchSettings, Outcome, map_job

__all__ = [
    "SUMMARY_FIELDS",
    "BatchSettings",
    "CohortTable",
    "Job",
    "Outcome",
    "map_job",
    "plan_jobs",
    "prepare_output",
    "read_summary_table",
    "run_jobs",
]

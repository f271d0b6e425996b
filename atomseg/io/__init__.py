"""Reading micrographs and writing results; nothing else in atomseg knows a file format."""

from atomseg.io.formats import MICROGRAPH_SUFFIXES, sha256_of
from atomseg.io.labelled import read_labelled, read_training_folder
from atomseg.io.measured import MeasuredResult, find_results, read_measured
from atomseg.io.micrograph import read_frames, read_micrograph
from atomseg.io.replace import replace_file, replace_files
from atomseg.io.results import is_result_folder, read_analysis, result_matches, write_analysis
from atomseg.io.scenes import read_scene, write_scene
from atomseg.io.summary import summarize, surfaces_from
from atomseg.io.tables import COLUMN_TABLE_FIELDS, columns_table

__all__ = [
    "COLUMN_TABLE_FIELDS",
    "MICROGRAPH_SUFFIXES",
    "MeasuredResult",
    "columns_table",
    "find_results",
    "is_result_folder",
    "read_analysis",
    "read_frames",
    "read_labelled",
    "read_measured",
    "read_micrograph",
    "read_scene",
    "read_training_folder",
    "replace_file",
    "replace_files",
    "result_matches",
    "sha256_of",
    "summarize",
    "surfaces_from",
    "write_analysis",
    "write_scene",
]

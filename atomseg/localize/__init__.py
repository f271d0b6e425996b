"""Prediction and image to columns: peaks, then a joint fit of overlapping columns with an error each."""

from atomseg.localize.config import LocalizeConfig
from atomseg.localize.peaks import Peaks, find_peaks
from atomseg.localize.stage import fit_columns, localize

__all__ = ["LocalizeConfig", "Peaks", "find_peaks", "fit_columns", "localize"]

"""Columns -> PhaseMap: lattice frames, stacking and interlayer occupancy, decision, regions."""

from atomseg.classify.config import ClassifyConfig
from atomseg.classify.fitness import contrast_check
from atomseg.classify.scale import suggest_pixel_size
from atomseg.classify.stage import classify

__all__ = ["ClassifyConfig", "classify", "contrast_check", "suggest_pixel_size"]

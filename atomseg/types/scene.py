"""A simulated micrograph with its exact truth."""

from dataclasses import dataclass

import numpy as np

from atomseg.types.columns import Columns
from atomseg.types.micrograph import Micrograph
from atomseg.types.phases import PhaseMap
from atomseg.types.reconstruction import ReconstructionProfile


@dataclass(frozen=True)
class Scene:
    """Image and truth, in the same types that a mapped micrograph has.

    Parameters
    ----------
    micrograph : Micrograph
        The noisy image.
    columns : Columns
        True columns as imaged (drift, shear, strain and afterglow included, line jitter left out), with `species`,
        `occupancy`, `required` (1 where a detector must find it) and `phase` beside the localisation fields; amplitude
        is the column's own peak height in the image's unit, background the level it stands on, sigma_*_pm the
        Cramer-Rao bounds.
    phases : PhaseMap
        True phases.
    reconstruction : ReconstructionProfile
        True thickness.
    crystal : numpy.ndarray
        (H, W) bool, True in crystal.
    parameters : dict
        Every number drawn for this scene (JSON-ready).
    clean : numpy.ndarray or None
        (H, W) float32, the image without any noise, in its unit, with its distortions and afterglow; None where it was
        not kept.
    """

    micrograph: Micrograph
    columns: Columns
    phases: PhaseMap
    reconstruction: ReconstructionProfile
    crystal: np.ndarray
    parameters: dict[str, object]
    clean: np.ndarray | None = None

"""Everything that is known about one micrograph after mapping it."""

from dataclasses import dataclass, field

import numpy as np

from atomseg.types.checks import Check
from atomseg.types.columns import Columns
from atomseg.types.lattice import LatticeMaps
from atomseg.types.micrograph import Micrograph
from atomseg.types.phases import PhaseMap
from atomseg.types.prediction import Prediction
from atomseg.types.reconstruction import ReconstructionProfile


@dataclass(frozen=True)
class Provenance:
    """What it takes to make a result again."""

    version: str
    commit: str | None
    model_id: str
    model_sha256: str
    config: dict[str, object]
    packages: dict[str, str] = field(default_factory=dict)
    device: str = "cpu"
    seconds: float = 0.0


@dataclass(frozen=True)
class AnalysisRecord:
    """The result of the whole pipeline; `atomseg.Analysis` adds saving, loading and plotting.

    Parameters
    ----------
    micrograph : Micrograph
        The input.
    localized : Columns
        Columns as fitted.
    phases : PhaseMap
        Phases of columns and pixels.
    thickness : ReconstructionProfile
        The reconstruction layer.
    restored : numpy.ndarray
        (H, W) float32 restored image on the input's pixel grid.
    checks : tuple of Check
        All fitness checks, in the order they were made.
    warnings : tuple of str
        All sentences that a user must read.
    provenance : Provenance
        Versions, model, configuration.
    prediction : Prediction or None
        All that the network answered; None in an analysis that was read from a folder.
    lattice : LatticeMaps or None
        Spacing, strain, rotation, dislocations, profiles with depth; None where they were not measured.
    input_lost : bool
        The input could not be read again: `restored` stands in for the micrograph's image, which is for pictures only.
    """

    micrograph: Micrograph
    localized: Columns
    phases: PhaseMap
    thickness: ReconstructionProfile
    restored: np.ndarray
    checks: tuple[Check, ...]
    warnings: tuple[str, ...]
    provenance: Provenance
    prediction: Prediction | None = None
    lattice: LatticeMaps | None = None
    input_lost: bool = False

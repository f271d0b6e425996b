"""How a structure is imaged: sampling, column shape and dose together."""

from dataclasses import dataclass
from functools import cached_property

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

    @cached_property
    def covariance_px(self) -> np.ndarray:
        """(2, 2) covariance of a column's core, pixels squared."""
        return self.profile.covariance(self.scan.pixel_size_nm)

    @cached_property
    def shown_covariance_px(self) -> np.ndarray:
        """(2, 2) covariance of a column's core in the image as the user has it, after a low-pass filter."""
        return self.covariance_px + np.diag(np.square(self.filter_px))

    @cached_property
    def filter_px(self) -> tuple[float, float]:
        """(y, x) standard deviations of the low-pass filter, pixels."""
        size = self.scan.pixel_size_nm
        return (self.detector.filter_nm / size[0], self.detector.filter_nm / size[1])

    @cached_property
    def peak_counts(self) -> float:
        """Counts in the pixel at the peak of a full TM column, before a mistilt lowers it."""
        area = 2.0 * np.pi * float(np.sqrt(np.linalg.det(self.covariance_px)))
        return self.detector.counts / (area * self.profile.tilt_peak)

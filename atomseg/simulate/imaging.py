"""How a structure is imaged: sampling, column shape and dose together."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from atomseg.simulate.afterglow import Afterglow, afterglow
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
        """(2, 2) covariance of a column's core in the image as the user has it, after low-pass filter and afterglow."""
        covariance = self._filtered_px
        # Afterglow widens each line's peak alike: only the variance along the lines grows.
        wider = self.afterglow.sigma_px**2 - _along_line(covariance)
        return covariance + np.array([[0.0, 0.0], [0.0, wider]])

    @cached_property
    def afterglow(self) -> Afterglow:
        """What afterglow does to a column of this image; a filter commutes with it."""
        return afterglow(float(np.sqrt(_along_line(self._filtered_px))), self.detector.afterglow_px)

    @cached_property
    def peak_left(self) -> float:
        """Height of a column's peak in the image as the user has it, relative to the one recorded without either."""
        spread = np.linalg.det(self.covariance_px) / np.linalg.det(self._filtered_px)
        return float(np.sqrt(spread)) * self.afterglow.height

    @cached_property
    def seen(self) -> Scan:
        """The scan with everything as late along its lines as afterglow lets columns appear."""
        return replace(self.scan, late_px=self.afterglow.shift_px)

    @cached_property
    def _filtered_px(self) -> np.ndarray:
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


def _along_line(covariance: np.ndarray) -> float:
    """Variance of a Gaussian along one line through it."""
    return float(covariance[1, 1] - covariance[0, 1] ** 2 / covariance[0, 0])

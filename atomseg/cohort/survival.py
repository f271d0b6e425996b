"""Kaplan-Meier thickness of a few particles with many points each, for one set of particle weights or thousands."""

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from lifelines import KaplanMeierFitter

# Shares that differ by rounding alone are the same.
ROUNDING = 1e-9


@dataclass(frozen=True)
class ClusteredThickness:
    """Points of several particles, sorted once so that any weighting of the particles is a matrix product.

    Parameters
    ----------
    depths_nm : numpy.ndarray
        (K,) distinct depths at which an end of the layer was seen, ascending, nm.
    ended : numpy.ndarray
        (P, K) share of each particle's points whose layer ends at that depth.
    at_risk : numpy.ndarray
        (P, K) share of each particle's points that are known to be at least that thick.
    """

    depths_nm: np.ndarray
    ended: np.ndarray
    at_risk: np.ndarray

    @classmethod
    def from_points(
        cls, thickness_nm: np.ndarray, event: np.ndarray, particle: np.ndarray, n_particles: int
    ) -> "ClusteredThickness":
        """Sort points into the table.

        Parameters
        ----------
        thickness_nm : numpy.ndarray
            (N,) thickness, or its lower bound where censored, nm.
        event : numpy.ndarray
            (N,) bool, True where the end of the layer was seen.
        particle : numpy.ndarray
            (N,) int, index of the particle of each point.
        n_particles : int
            Number of particles; every one of them has points.
        """
        depths = np.unique(thickness_nm[event])
        points = np.bincount(particle, minlength=n_particles).astype(float)
        ended, lost = np.zeros((2, n_particles, len(depths) + 1))
        np.add.at(ended, (particle[event], np.searchsorted(depths, thickness_nm[event])), 1.0)
        # A point lost at a depth was still in view there, so it counts at risk up to and including that depth.
        lost_at = np.searchsorted(depths, thickness_nm[~event], side="right") - 1
        np.add.at(lost, (particle[~event], lost_at), 1.0)  # lost before the first depth: index -1, the spare column
        lost[:, -1] = 0.0
        at_risk = np.cumsum((ended + lost)[:, ::-1], axis=1)[:, ::-1]
        return cls(depths, ended[:, :-1] / points[:, None], at_risk[:, :-1] / points[:, None])

    def survival(self, weights: np.ndarray) -> np.ndarray:
        """Share of the surface whose layer goes beyond each depth.

        Kaplan and Meier 1958, doi 10.1080/01621459.1958.10501452, each particle with its weight. Beyond the deepest
        view the share stays where it was.

        Parameters
        ----------
        weights : numpy.ndarray
            (B, P) weights of the particles, not negative.

        Returns
        -------
        numpy.ndarray
            (B, K).
        """
        at_risk = weights @ self.at_risk
        ended = weights @ self.ended
        hazard = np.divide(ended, at_risk, out=np.zeros_like(ended), where=at_risk > ROUNDING)
        return np.cumprod(1.0 - np.minimum(hazard, 1.0), axis=1)

    def median_nm(self, weights: np.ndarray, share: float = 0.5) -> np.ndarray:
        """(B,) depth that `share` of the surface goes beyond, nm; infinite where the view ends before it."""
        reached = self.survival(weights) <= share + ROUNDING
        if not reached.shape[1]:
            return np.full(len(weights), np.inf)
        return np.where(reached.any(axis=1), self.depths_nm[reached.argmax(axis=1)], np.inf)

    def restricted_mean_nm(self, weights: np.ndarray, tau_nm: float) -> np.ndarray:
        """(B,) mean of the smaller of thickness and `tau_nm`, nm: the area below the curve up to there."""
        depths = np.concatenate([[0.0], np.minimum(self.depths_nm, tau_nm), [tau_nm]])
        share = np.concatenate([np.ones((len(weights), 1)), self.survival(weights)], axis=1)
        return share @ np.diff(depths)

    def beyond(self, weights: np.ndarray, depth_nm: float) -> np.ndarray:
        """(B,) share of the surface whose layer goes beyond `depth_nm`."""
        index = int(np.searchsorted(self.depths_nm, depth_nm, side="right"))
        return self.survival(weights)[:, index - 1] if index else np.ones(len(weights))


def estimate_curve(thickness_nm: np.ndarray, event: np.ndarray, weights: np.ndarray) -> "KaplanMeierFitter":
    """The Kaplan-Meier estimate of lifelines, for the numbers that are reported.

    Parameters
    ----------
    thickness_nm, event : numpy.ndarray
        (N,) thickness or lower bound, nm; bool.
    weights : numpy.ndarray
        (N,) weights of the points.
    """
    from lifelines import KaplanMeierFitter
    from lifelines.exceptions import StatisticalWarning

    with warnings.catch_warnings():
        # Said of weights that are no counts: lifelines' own errors would be wrong, and they are not used.
        warnings.simplefilter("ignore", StatisticalWarning)
        return KaplanMeierFitter().fit(thickness_nm, event, weights=weights)

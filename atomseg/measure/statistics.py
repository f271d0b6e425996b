"""Statistics of censored thickness along a surface."""

import math
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtr

from atomseg.measure.config import THICK_ABOVE_NM, THIN_BELOW_NM, MeasureConfig
from atomseg.measure.rays import Depths
from atomseg.types import ThicknessClass, ThicknessSummary

Z90 = 1.6449  # half width of a central 90 % interval of the normal distribution


def kaplan_meier(value: np.ndarray, event: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct event values and the share of points that lie beyond each.

    Kaplan and Meier 1958, doi 10.1080/01621459.1958.10501452.

    Parameters
    ----------
    value : numpy.ndarray
        (N,) measured values; lower bounds where censored.
    event : numpy.ndarray
        (N,) 1 where the end was seen, 0 where censored.
    """
    times = np.unique(value[event == 1])
    survival, share = [], 1.0
    for t in times:
        at_risk = int((value >= t).sum())
        share *= 1 - int(((value == t) & (event == 1)).sum()) / at_risk
        survival.append(share)
    return times, np.array(survival)


def km_mean(value: np.ndarray, event: np.ndarray) -> float:
    """Mean under censoring, up to the largest value seen (Efron's convention: the largest counts as an event)."""
    event = event.copy()
    event[value == value.max()] = 1
    times, survival = kaplan_meier(value, event)
    edges = np.concatenate([[0.0], times])
    heights = np.concatenate([[1.0], survival])[:-1]
    return float((np.diff(edges) * heights).sum())


def km_quantile(value: np.ndarray, event: np.ndarray, q: float) -> float | None:
    """Quantile under censoring; None when so many points are censored that it is not reached."""
    times, survival = kaplan_meier(value, event)
    reached = np.flatnonzero(survival <= 1 - q + 1e-12)
    return float(times[reached[0]]) if len(reached) else None


def point_interval(depths: Depths, config: MeasureConfig) -> tuple[np.ndarray, np.ndarray]:
    """90 % interval of the depth at each point: edge, front, phase probabilities around it, pixel size.

    Returns
    -------
    lower, upper : numpy.ndarray
        (P,) nm; `upper` is NaN where the end was not seen, and at least the detection limit.
    """
    t, seen = depths.thickness, depths.event == 1
    fixed = Z90**2 * (config.edge_sigma_nm**2 + (config.calibration_sigma * t) ** 2)
    front = Z90 * config.front_sigma_nm
    down = np.sqrt(fixed + np.maximum(front, t - depths.shallow) ** 2)
    up = np.sqrt(fixed + np.maximum(front, depths.deep - t) ** 2)
    below = t < config.detection_limit_nm
    lower = np.where(below & seen, 0.0, np.maximum(0.0, t - down))
    upper = np.maximum(t + up, config.detection_limit_nm)
    return lower, np.where(seen, upper, np.nan)


def standard_error(points: pd.DataFrame, mean: float, config: MeasureConfig) -> float:
    """Standard error of the mean thickness of the stretch in view.

    The errors of edge, front and pixel size are shared by neighbouring points and do not average out over one image:
    the mean square of the points' own errors stands for them. Where points are censored, the mean is that of a model
    (censoring that does not depend on thickness), and the scatter along the surface counts in proportion.
    """
    seen = points[points["event"] == 1]
    below = seen["thickness_nm"] < config.detection_limit_nm
    half = 0.5 * (seen["upper_nm"] - seen["lower_nm"])[~below].to_numpy(dtype=float)
    shared = float(np.mean((half / Z90) ** 2)) if len(half) else 0.0
    floor = config.edge_sigma_nm**2 + config.front_sigma_nm**2 + (config.calibration_sigma * mean) ** 2
    independent = max(1.0, len(points) * config.point_spacing_nm / config.correlation_nm)
    censored = 1.0 - len(seen) / len(points)
    return math.sqrt(max(shared, floor) + censored * float(points["thickness_nm"].var(ddof=0)) / independent)


def summarize_points(points: pd.DataFrame, config: MeasureConfig) -> ThicknessSummary:
    """Summary of surface points, censoring respected."""
    value, event = points["thickness_nm"].to_numpy(dtype=float), points["event"].to_numpy(dtype=int)
    n = len(value)
    censored_share = float(1 - event.mean())
    extra = _measured_beside(points)
    if censored_share > 0.5:
        # The median if every censored point ended where it left the view: the layer is at least that thick.
        bound = float(np.median(value))
        bounded = _bounded_probability(bound)
        return ThicknessSummary(
            mean_nm=None,
            median_nm=km_quantile(value, event, 0.5),
            p05_nm=km_quantile(value, event, 0.05),
            p95_nm=None,
            lower_nm=bound,
            upper_nm=None,
            censored=True,
            censored_fraction=censored_share,
            lower_bound_nm=bound,
            thickness_class="thick" if bounded.get("thick") == 1.0 else None,
            class_probability=bounded,
            n_points=n,
            **extra,
        )
    mean = km_mean(value, event)
    error = standard_error(points, mean, config)
    probability = class_probabilities(mean, error)
    best = max(probability, key=lambda name: probability[name])
    none_seen = mean < config.detection_limit_nm / 2
    return ThicknessSummary(
        mean_nm=mean,
        median_nm=km_quantile(value, event, 0.5),
        p05_nm=km_quantile(value, event, 0.05),
        p95_nm=km_quantile(value, event, 0.95),
        lower_nm=0.0 if none_seen else max(0.0, mean - Z90 * error),
        upper_nm=max(config.detection_limit_nm, mean + Z90 * error),
        censored=False,
        censored_fraction=censored_share,
        lower_bound_nm=None,
        thickness_class=best,
        class_probability={str(name): share for name, share in probability.items()},
        n_points=n,
        **extra,
    )


def _measured_beside(points: pd.DataFrame) -> dict[str, Any]:
    """What a summary says beside the thickness: kind of surface, detection limit, hidden reconstruction, overlayer."""
    kinds = points["surface_kind"].unique()
    hidden = points["hidden_from_nm"].dropna()
    cover = points[points["overlayer_nm"].notna()]
    value, event = cover["overlayer_nm"].to_numpy(dtype=float), cover["overlayer_event"].to_numpy(dtype=int)
    known = len(cover) > 0.5 * len(points)
    median = km_quantile(value, event, 0.5) if known and event.any() else None
    return {
        "surface_kind": kinds[0] if len(kinds) == 1 else None,
        "below_limit_fraction": float(points["below_limit"].mean()),
        "hidden_fraction": len(hidden) / len(points),
        "hidden_from_nm": float(hidden.min()) if len(hidden) else None,
        "overlayer_nm": median,
        "overlayer_lower_bound_nm": float(np.median(value)) if known and median is None else None,
    }


def class_probabilities(mean_nm: float, error_nm: float) -> dict[ThicknessClass, float]:
    """Probability that the mean thickness lies below 5 nm, between, or above 20 nm, its error normal."""
    thin = float(ndtr((THIN_BELOW_NM - mean_nm) / error_nm))
    thick = float(ndtr((mean_nm - THICK_ABOVE_NM) / error_nm))
    return {"thin": thin, "intermediate": max(0.0, 1.0 - thin - thick), "thick": thick}


def _bounded_probability(bound_nm: float) -> dict[str, float]:
    """What a lower bound alone says: classes it excludes have probability 0; the rest stays open unless one is left."""
    if bound_nm > THICK_ABOVE_NM:
        return {"thin": 0.0, "intermediate": 0.0, "thick": 1.0}
    return {"thin": 0.0} if bound_nm >= THIN_BELOW_NM else {}

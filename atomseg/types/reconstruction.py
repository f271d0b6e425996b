"""The reconstruction layer: thickness along the surface, with censoring."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd

ThicknessClass = Literal["thin", "intermediate", "thick"]
# Outer: nothing faces it; crack: another face within a few nm across vacuum; pore: vacuum inside crystal.
SurfaceKind = Literal["outer", "crack", "pore"]

PROFILE_FIELDS = (
    "surface_id",
    "s_nm",
    "y_px",
    "x_px",
    "normal_deg",
    "facet_deg",
    "thickness_nm",
    "lower_nm",
    "upper_nm",
    "t_50_nm",
    "t_rocksalt_nm",
    "t_mix_nm",
    "front_width_nm",
    "available_nm",
    "event",
    "reason",
)
# What the measurement adds to them.
MEASURED_FIELDS = ("below_limit", "hidden_from_nm", "overlayer_nm", "overlayer_event", "surface_kind")
FAULT_FIELDS = (
    "fault_id",
    "row_lower",
    "row_upper",
    "y_px",
    "x_px",
    "length_nm",
    "ends_in_view",
    "surface_distance_nm",
    "lamella_id",
    "lamella_gaps",
)


@dataclass(frozen=True)
class ThicknessSummary:
    """Statistics of one surface, or of all of them together; lengths in nm, see `docs/thickness.md`."""

    mean_nm: float | None
    median_nm: float | None
    p05_nm: float | None
    p95_nm: float | None
    lower_nm: float | None
    upper_nm: float | None
    censored: bool
    censored_fraction: float
    lower_bound_nm: float | None
    thickness_class: ThicknessClass | None
    class_probability: dict[str, float]
    n_points: int
    surface_kind: SurfaceKind | None = None  # None for several of different kinds
    below_limit_fraction: float = 0.0
    hidden_fraction: float = 0.0
    hidden_from_nm: float | None = None
    overlayer_nm: float | None = None
    overlayer_lower_bound_nm: float | None = None

    @property
    def least_nm(self) -> float | None:
        """The mean, or the lower bound where that is all that is known."""
        return self.lower_bound_nm if self.mean_nm is None else self.mean_nm


@dataclass(frozen=True)
class ReconstructionProfile:
    """Thickness of the reconstruction layer along every surface in view.

    Parameters
    ----------
    points : pandas.DataFrame
        One row a surface point, `PROFILE_FIELDS`, of a measurement `MEASURED_FIELDS` too; empty when no surface is in
        view.
    faults : pandas.DataFrame
        One row an O1 stacking fault, `FAULT_FIELDS`.
    depth_nm : numpy.ndarray
        (H, W) float32 depth below the nearest surface, NaN outside crystal and where no surface is in view.
    summary : ThicknessSummary or None
        All surfaces together; None when no surface is in view.
    surfaces : dict
        Summary by surface id.
    warnings : tuple of str
        What the user must know about these numbers.
    """

    points: pd.DataFrame
    faults: pd.DataFrame
    depth_nm: np.ndarray
    summary: ThicknessSummary | None = None
    surfaces: dict[int, ThicknessSummary] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def surfaces_differ(surfaces: Mapping[int, ThicknessSummary]) -> bool:
    """Whether surfaces are of different classes: pooled, they make a layer that is nowhere."""
    return len({summary.thickness_class for summary in surfaces.values()}) > 1


def by_thickness(surfaces: Mapping[int, ThicknessSummary]) -> list[tuple[int, ThicknessSummary]]:
    """Surfaces by id, the thickest first; a lower bound stands where it says."""
    return sorted(surfaces.items(), key=lambda item: -(item[1].least_nm or 0.0))

"""Lattice maps: spacing, strain and rotation column by column and pixel by pixel, dislocations, profiles with depth."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

# lattice.csv, one row a column in the order of columns.csv.
LATTICE_FIELDS = (
    "id",
    "period_nm",
    "period_err_nm",
    "spacing_nm",
    "spacing_err_nm",
    "strain_cc",
    "strain_cc_err",
    "strain_ip",
    "strain_ip_err",
    "shear",
    "shear_err",
    "rotation_deg",
    "rotation_err_deg",
    "misfit_pm",
    "in_reference",
)
DISLOCATION_FIELDS = (
    "dislocation_id",
    "y_px",
    "x_px",
    "y_err_nm",
    "x_err_nm",
    "b_row",
    "b_layer",
    "b_nm",
    "b_y_nm",
    "b_x_nm",
    "b_angle_deg",
    "sign",
    "kind",
    "surface_distance_nm",
)
DEPTH_PROFILE_FIELDS = (
    "surface_id",
    "depth_nm",
    "n_columns",
    "occupancy",
    "occupancy_err",
    "occupancy_p16",
    "occupancy_p84",
    "layered",
    "rocksalt",
    "o1",
    "unresolved",
    "spacing_nm",
    "spacing_err_nm",
)


@dataclass(frozen=True)
class LatticeMaps:
    """Local lattice of one micrograph, in its crystal's own axes.

    Parameters
    ----------
    columns : pandas.DataFrame
        One row a column, `LATTICE_FIELDS`; NaN where the lattice around it can not be fitted.
    spacing, strain_cc, strain_ip, shear, rotation, occupancy_err : numpy.ndarray
        (H, W) float32 on the input's pixel grid: TM layer spacing in nm, strain across the layers and along the rows,
        tensor shear between them, rotation in degrees, standard error of the interlayer occupancy; NaN where unknown.
    dislocations : pandas.DataFrame
        One row a dislocation, `DISLOCATION_FIELDS`.
    depth_profile : pandas.DataFrame
        One row a surface and depth bin, `DEPTH_PROFILE_FIELDS`; empty when no surface is in view.
    summary : dict
        The numbers of ``lattice`` in ``summary.json``.
    dislocation_summary, fault_summary : dict
        Those of ``dislocations``, and what is added to ``faults``.
    warnings : tuple of str
        What the user must know about these numbers.
    """

    columns: pd.DataFrame
    spacing: np.ndarray
    strain_cc: np.ndarray
    strain_ip: np.ndarray
    shear: np.ndarray
    rotation: np.ndarray
    occupancy_err: np.ndarray
    dislocations: pd.DataFrame
    depth_profile: pd.DataFrame
    summary: dict[str, object] = field(default_factory=dict)
    dislocation_summary: dict[str, object] = field(default_factory=dict)
    fault_summary: dict[str, object] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def planes(self) -> dict[str, np.ndarray]:
        """The maps by the name of their file."""
        names = ("spacing", "strain_cc", "strain_ip", "shear", "rotation", "occupancy_err")
        return {name: getattr(self, name) for name in names}

"""Atomic columns: positions with errors, from the fit or from a simulator's truth."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

# Column order of the localisation part of columns.csv; the classification part follows in atomseg.types.phases.
LOCALIZATION_FIELDS = (
    "id",
    "y_px",
    "x_px",
    "y_nm",
    "x_nm",
    "sigma_y_pm",
    "sigma_x_pm",
    "amplitude",
    "background",
    "fwhm_major_nm",
    "fwhm_minor_nm",
    "theta_deg",
    "probability",
    "flags",
)


@dataclass(frozen=True)
class Columns:
    """Columns of one micrograph.

    Parameters
    ----------
    table : pandas.DataFrame
        One row a column with at least `LOCALIZATION_FIELDS`: positions in pixels of the input image (centre of the
        first pixel is 0) and in nm (pixels times pixel size), standard errors in pm, amplitude (peak height) and
        background in the image's own intensity unit, full widths at half maximum in nm, angle of the major axis in
        degrees from +x towards +y, detection probability, `flags` as int (`ColumnFlag`). Truth adds its own (`species`,
        `occupancy`).
    """

    table: pd.DataFrame

    def __post_init__(self) -> None:
        missing = [name for name in LOCALIZATION_FIELDS if name not in self.table.columns]
        if missing:
            raise ValueError(f"a column table needs {', '.join(LOCALIZATION_FIELDS)}; missing: {', '.join(missing)}")

    def __len__(self) -> int:
        return len(self.table)

    @property
    def yx_px(self) -> np.ndarray:
        """(N, 2) float64 positions in input pixels, (y, x)."""
        return self.table[["y_px", "x_px"]].to_numpy(dtype=np.float64)

    @property
    def yx_nm(self) -> np.ndarray:
        """(N, 2) float64 positions in nm, (y, x)."""
        return self.table[["y_nm", "x_nm"]].to_numpy(dtype=np.float64)

    @property
    def sigma_nm(self) -> np.ndarray:
        """(N, 2) float64 standard errors in nm, (y, x)."""
        return self.table[["sigma_y_pm", "sigma_x_pm"]].to_numpy(dtype=np.float64) * 1e-3

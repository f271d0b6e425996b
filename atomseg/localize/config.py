"""Settings of localization."""

from dataclasses import dataclass

from atomseg.errors import ConfigError
from atomseg.types import StageConfig


@dataclass(frozen=True, kw_only=True)
class LocalizeConfig(StageConfig):
    """How peaks become columns.

    Parameters
    ----------
    merge_nm : float
        Peaks and fitted columns closer than this are one column, nm. Distinct columns of the structures in scope are at
        least 0.13 nm apart in projection.
    min_crystal : float
        Probability of crystal, as the network tells it at a peak and the two dozen nearest ones together, from which
        peaks are columns. Lower ones are speckle of amorphous matter, or columns at the limit of what can be seen.
    max_shift_fwhm : float
        A fit that walks further than this from its peak has failed, in full widths at half maximum of the image's
        typical column; where a peak's own place is known worse, 2.5 of its errors.
    window_fwhm : float
        Radius of the fitted window in full widths at half maximum of the image's typical column.
    max_iterations : int
        Rounds of the joint fit.
    tolerance_pm : float
        The fit of a column ends when its own and its neighbours' steps are smaller than this, pm.
    min_significance : float
        A column is not seen when its amplitude is below this many errors and the network is unsure. Where bright
        columns have less than twice as many, the network's odds and the fitted light decide together.
    sure_probability : float
        Detection probability from which a column is kept however dim it is.

    Raises
    ------
    ConfigError
        If a number is outside its range.
    """

    merge_nm: float = 0.08
    min_crystal: float = 0.955
    max_shift_fwhm: float = 0.33
    window_fwhm: float = 1.3
    max_iterations: int = 25
    tolerance_pm: float = 0.2
    min_significance: float = 2.5
    sure_probability: float = 0.8

    def __post_init__(self) -> None:
        ranges: dict[str, tuple[float, float]] = {
            "merge_nm": (0.0, 0.13),
            "min_crystal": (0.0, 1.0),
            "max_shift_fwhm": (0.02, 1.0),
            "window_fwhm": (0.8, 3.0),
            "max_iterations": (1, 500),
            "tolerance_pm": (1e-3, 10.0),
            "min_significance": (0.0, 20.0),
            "sure_probability": (0.0, 1.0),
        }
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"localize.{name} is {value:g}; allowed {low:g} to {high:g}")

"""Settings of the classification stage."""

from dataclasses import dataclass

from atomseg.errors import ConfigError
from atomseg.types import StageConfig

# Layered-oxide geometry down the close-packed zone, from the refined cells of LiNiO2, NMC-811, delithiated O1 NiO2 and
# NiO (values and sources in atomseg/crystal/data).
IN_PLANE_PERIOD_NM = 0.2490  # TM-TM distance along a row: a·√3/2 of the hexagonal cell; NiO a/√8·√3 = 0.2558


@dataclass(frozen=True, kw_only=True)
class ClassifyConfig(StageConfig):
    """Settings of `classify`.

    Parameters
    ----------
    scale_tolerance : float
        Largest relative error of the calibration that is still recognised as a layered oxide (0 to 0.15). Uncorrected
        scan calibrations are commonly 3 to 5 % off.
    ratio_range : tuple of float
        Allowed ratio of TM layer spacing to in-plane period; the phases span 1.79 to 1.97, scan distortion
        (3 %) and strain add 4.5 %.
    occupancy_threshold : float
        Interlayer occupancy from which a region is called rocksalt.
    occupancy_systematic : float
        Systematic error of the occupancy (background, channelling), added in quadrature in every decision.
    shift_systematic_nm : float
        Least error of a stacking shift: columns relax near faults; the noise of the scan is measured on the image.
    o1_prior : float
        Probability that a gap between two TM rows is O1 before looking at it.
    coupling_stack : float
        Strength (nats) with which gaps in adjacent rows prefer the same stacking; along a row it is decided jointly.
    min_domain_columns : int
        Fewest columns of a crystal domain.
    outline_nm : float
        Crystal beyond the centres of its outermost columns: half a cation row.
    grid_nm : float
        Sampling of the phase map before it is brought to the pixel grid.
    """

    scale_tolerance: float = 0.07
    ratio_range: tuple[float, float] = (1.71, 2.06)
    occupancy_threshold: float = 0.5
    occupancy_systematic: float = 0.06
    shift_systematic_nm: float = 0.012
    o1_prior: float = 0.1
    coupling_stack: float = 0.1
    min_domain_columns: int = 24
    outline_nm: float = 0.11
    grid_nm: float = 0.04

    def __post_init__(self) -> None:
        for name, low, high in (
            ("scale_tolerance", 0.0, 0.15),
            ("occupancy_threshold", 0.05, 0.95),
            ("occupancy_systematic", 0.0, 0.5),
            ("shift_systematic_nm", 0.0, 0.05),
            ("o1_prior", 1e-4, 0.9),
            ("coupling_stack", 0.0, 10.0),
            ("min_domain_columns", 6, 10_000),
            ("outline_nm", 0.0, 0.3),
            ("grid_nm", 0.01, 0.1),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"classify.{name} = {value} is outside {low} to {high}")
        if not 1.0 < self.ratio_range[0] < self.ratio_range[1] < 3.0:
            raise ConfigError(f"classify.ratio_range = {self.ratio_range} must be two rising numbers between 1 and 3")

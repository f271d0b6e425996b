"""Settings of the measurement stage."""

from dataclasses import dataclass

from atomseg.errors import ConfigError
from atomseg.types import StageConfig

# Bounds of the thickness classes, nm: a thin uniform skin, a thick disordered layer.
THIN_BELOW_NM = 5.0
THICK_ABOVE_NM = 20.0


@dataclass(frozen=True, kw_only=True)
class MeasureConfig(StageConfig):
    """Settings of `measure`; lengths in nm.

    Parameters
    ----------
    grid_nm : float
        Sampling of the maps that the measurement works on.
    edge_smoothing_nm : float
        Standard deviation of the smoothing of the crystal edge: steps of an atomic row are followed, pixels are not.
    normal_smoothing_nm : float
        Standard deviation, along the edge, of the smoothing of the surface normal.
    point_spacing_nm : float
        Distance of surface points along the edge.
    closing_nm : float
        Layered islands narrower than twice this inside the reconstructed zone belong to it (its envelope); between
        patches that are wider, gaps up to the width of the narrower one.
    attached_nm : float
        Reconstructed crystal that begins within this depth belongs to the surface.
    detection_limit_nm : float
        Thinnest layer that can be told from none; the upper bound where no reconstruction is seen.
    shortest_surface_nm : float
        Shorter pieces of edge are left out.
    edge_sigma_nm : float
        Standard error of the position of the edge.
    front_sigma_nm : float
        Standard error of the position of the reaction front: half a cation row.
    calibration_sigma : float
        Relative standard error of the pixel size.
    correlation_nm : float
        Surface points closer than this are not independent.
    """

    grid_nm: float = 0.06
    edge_smoothing_nm: float = 0.25
    normal_smoothing_nm: float = 2.5
    point_spacing_nm: float = 0.3
    closing_nm: float = 1.5
    attached_nm: float = 1.0
    detection_limit_nm: float = 0.5
    shortest_surface_nm: float = 2.0
    edge_sigma_nm: float = 0.15
    front_sigma_nm: float = 0.12
    calibration_sigma: float = 0.01
    correlation_nm: float = 2.0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("grid_nm", 0.02, 0.2),
            ("edge_smoothing_nm", 0.0, 3.0),
            ("normal_smoothing_nm", 0.1, 20.0),
            ("point_spacing_nm", 0.05, 5.0),
            ("closing_nm", 0.0, 5.0),
            ("attached_nm", 0.1, 5.0),
            ("detection_limit_nm", 0.1, 5.0),
            ("shortest_surface_nm", 0.5, 50.0),
            ("edge_sigma_nm", 0.0, 2.0),
            ("front_sigma_nm", 0.0, 2.0),
            ("calibration_sigma", 0.0, 0.1),
            ("correlation_nm", 0.1, 50.0),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"measure.{name} = {value} is outside {low} to {high}")

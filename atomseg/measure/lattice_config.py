"""Settings of the lattice measurement."""

from dataclasses import dataclass

from atomseg.errors import ConfigError
from atomseg.types import StageConfig


@dataclass(frozen=True, kw_only=True)
class LatticeConfig(StageConfig):
    """Settings of `measure_lattice`.

    Parameters
    ----------
    window_nm : float
        Radius of the neighbourhood that a local lattice is fitted to; its columns count with a Gaussian weight of half
        this width.
    reference_px : tuple of int or None
        Rectangle (top, left, bottom, right) in pixels whose mean lattice strain and rotation are relative to; None
        takes the layered crystal, deepest below the surface where one is in view.
    reference_depth_share : float
        Part of the layered columns, the deepest, that the reference is taken from when a surface is in view.
    grid_nm : float
        Sampling of the maps before they are brought to the pixel grid.
    depth_bin_nm : float
        Width of the bins of the profile with depth: one TM layer.
    smallest_burgers : float
        Shortest projected Burgers vector that is reported, in periods along the row: below a third there is none.
    """

    window_nm: float = 1.0
    reference_px: tuple[int, int, int, int] | None = None
    reference_depth_share: float = 0.5
    grid_nm: float = 0.1
    depth_bin_nm: float = 0.5
    smallest_burgers: float = 0.3

    def __post_init__(self) -> None:
        for name, low, high in (
            ("window_nm", 0.7, 5.0),
            ("reference_depth_share", 0.05, 1.0),
            ("grid_nm", 0.03, 0.3),
            ("depth_bin_nm", 0.2, 5.0),
            ("smallest_burgers", 0.1, 3.0),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"lattice.{name} = {value} is outside {low} to {high}")
        box = self.reference_px
        if box is not None and not (0 <= box[0] < box[2] and 0 <= box[1] < box[3]):
            raise ConfigError(
                f"lattice.reference_px = {box} is no rectangle: give top, left, bottom, right in pixels, "
                "top below bottom and left below right in number, none negative"
            )

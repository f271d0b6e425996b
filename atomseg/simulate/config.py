"""What a scene is drawn from."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from atomseg.errors import ConfigError
from atomseg.simulate.defect_config import DefectConfig
from atomseg.simulate.imaging_config import BackgroundConfig, DetectorConfig, OpticsConfig, ScanConfig
from atomseg.simulate.other import check_file
from atomseg.simulate.other_config import OtherConfig
from atomseg.simulate.ranges import check_ranges
from atomseg.simulate.specimen_config import (
    DomainConfig,
    FaultConfig,
    FoilConfig,
    LatticeConfig,
    LayerConfig,
    SurfaceConfig,
)
from atomseg.types import StageConfig


@dataclass(frozen=True, kw_only=True)
class SceneConfig(StageConfig):
    """What to simulate.

    Parameters
    ----------
    shape : tuple of int
        (H, W) of the image, pixels.
    p_cathode, p_other, p_nothing : float
        Relative weights of: a layered cathode down a close-packed row, any other lattice, no crystal at all.
    lattice, surface, layer, faults, domains, defects, other, foil, optics, background, scan, detector
        The parts, see their classes.
    """

    shape: tuple[int, int] = (256, 256)
    p_cathode: float = 0.6
    p_other: float = 0.34
    p_nothing: float = 0.08
    lattice: LatticeConfig = field(default_factory=LatticeConfig)
    surface: SurfaceConfig = field(default_factory=SurfaceConfig)
    layer: LayerConfig = field(default_factory=LayerConfig)
    faults: FaultConfig = field(default_factory=FaultConfig)
    domains: DomainConfig = field(default_factory=DomainConfig)
    defects: DefectConfig = field(default_factory=DefectConfig)
    other: OtherConfig = field(default_factory=OtherConfig)
    foil: FoilConfig = field(default_factory=FoilConfig)
    optics: OpticsConfig = field(default_factory=OpticsConfig)
    background: BackgroundConfig = field(default_factory=BackgroundConfig)
    scan: ScanConfig = field(default_factory=ScanConfig)
    detector: DetectorConfig = field(default_factory=DetectorConfig)

    def __post_init__(self) -> None:
        check_ranges(self, dict.fromkeys(("p_cathode", "p_other", "p_nothing"), (0.0, 1.0)))
        if min(self.shape) < 16 or max(self.shape) > 16384:
            raise ConfigError(f"SceneConfig.shape is {self.shape}; allowed: 16 to 16384 pixels on each axis")
        if self.p_cathode + self.p_other + self.p_nothing <= 0.0:
            raise ConfigError("SceneConfig: p_cathode, p_other and p_nothing are all 0; give at least one a weight")

    def of_crystal(self, path: str | Path, zone: tuple[int, int, int]) -> "SceneConfig":
        """The same imaging of another crystal.

        Parameters
        ----------
        path : str or pathlib.Path
            Structure file, see `atomseg.crystal.read_crystal`.
        zone : tuple of int
            Zone axis [u v w] of its cell.

        Raises
        ------
        ConfigError
            If the file or the zone can not be used, or its projection is too fine to resolve.
        """
        other = replace(self.other, p_cif=1.0, cif=(str(path),), cif_zones=(zone,))
        check_file(str(path), zone)
        return replace(self, p_cathode=0.0, p_other=1.0, p_nothing=0.0, other=other)

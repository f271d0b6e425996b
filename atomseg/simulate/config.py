"""What a scene is drawn from."""

from dataclasses import dataclass, field

from atomseg.errors import ConfigError
from atomseg.simulate.imaging_config import BackgroundConfig, DetectorConfig, OpticsConfig, ScanConfig
from atomseg.simulate.ranges import check_ranges
from atomseg.simulate.specimen_config import (
    DomainConfig,
    FaultConfig,
    FoilConfig,
    LatticeConfig,
    LayerConfig,
    OtherConfig,
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
    lattice, surface, layer, faults, domains, other, foil, optics, background, scan, detector
        The parts, see their classes.
    """

    shape: tuple[int, int] = (256, 256)
    p_cathode: float = 0.6
    p_other: float = 0.34
    p_nothing: float = 0.06
    lattice: LatticeConfig = field(default_factory=LatticeConfig)
    surface: SurfaceConfig = field(default_factory=SurfaceConfig)
    layer: LayerConfig = field(default_factory=LayerConfig)
    faults: FaultConfig = field(default_factory=FaultConfig)
    domains: DomainConfig = field(default_factory=DomainConfig)
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

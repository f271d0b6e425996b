"""Simulated HAADF-STEM micrographs of layered-oxide cathodes (and of other things) with exact truth."""

from atomseg.simulate.config import (
    BackgroundConfig,
    DetectorConfig,
    DomainConfig,
    FaultConfig,
    FoilConfig,
    LatticeConfig,
    LayerConfig,
    OpticsConfig,
    OtherConfig,
    ScanConfig,
    SceneConfig,
    SurfaceConfig,
)
from atomseg.simulate.scene import simulate

__all__ = [
    "BackgroundConfig",
    "DetectorConfig",
    "DomainConfig",
    "FaultConfig",
    "FoilConfig",
    "LatticeConfig",
    "LayerConfig",
    "OpticsConfig",
    "OtherConfig",
    "ScanConfig",
    "SceneConfig",
    "SurfaceConfig",
    "simulate",
]

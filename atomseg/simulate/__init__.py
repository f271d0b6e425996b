"""Simulated HAADF-STEM micrographs of layered-oxide cathodes (and of other things) with exact truth."""

from atomseg.simulate.config import SceneConfig
from atomseg.simulate.defect_config import DefectConfig
from atomseg.simulate.imaging_config import BackgroundConfig, DetectorConfig, OpticsConfig, ScanConfig
from atomseg.simulate.other_config import OtherConfig
from atomseg.simulate.scene import simulate
from atomseg.simulate.specimen_config import (
    DomainConfig,
    FaultConfig,
    FoilConfig,
    LatticeConfig,
    LayerConfig,
    SurfaceConfig,
)

__all__ = [
    "BackgroundConfig",
    "DefectConfig",
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

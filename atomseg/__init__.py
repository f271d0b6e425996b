"""Atomic columns, phases and reconstruction-layer thickness from HAADF-STEM micrographs of layered oxides."""

from typing import TYPE_CHECKING

from atomseg._version import __version__

if TYPE_CHECKING:
    from atomseg.analysis import Analysis
    from atomseg.config import MapConfig
    from atomseg.pipeline import map_micrograph

__all__ = ["Analysis", "MapConfig", "__version__", "map_micrograph"]


def __getattr__(name: str) -> object:
    # Imported on first use: torch, HyperSpy and matplotlib take seconds, and `import atomseg` should not.
    if name == "map_micrograph":
        from atomseg.pipeline import map_micrograph

        return map_micrograph
    if name == "Analysis":
        from atomseg.analysis import Analysis

        return Analysis
    if name == "MapConfig":
        from atomseg.config import MapConfig

        return MapConfig
    raise AttributeError(f"module 'atomseg' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

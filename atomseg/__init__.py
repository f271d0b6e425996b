"""Atomic columns, phases and reconstruction-layer thickness from HAADF-STEM micrographs of layered oxides."""

from atomseg._version import __version__

__all__ = ["__version__"]

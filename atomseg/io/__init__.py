"""Reading micrographs and writing results; nothing else in atomseg knows a file format."""

from atomseg.io.formats import MICROGRAPH_SUFFIXES
from atomseg.io.micrograph import read_frames, read_micrograph

__all__ = ["MICROGRAPH_SUFFIXES", "read_frames", "read_micrograph"]

"""The files of the lattice maps in a result folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from atomseg.io.maps import read_map
from atomseg.io.tables import read_table
from atomseg.types.lattice import DEPTH_PROFILE_FIELDS, DISLOCATION_FIELDS, LATTICE_FIELDS, LatticeMaps

PLANES = ("spacing", "strain_cc", "strain_ip", "shear", "rotation", "occupancy_err")
# Every file of the part, for a folder that has it.
LATTICE_FILES = (
    "lattice.csv",
    "dislocations.csv",
    "depth_profile.csv",
    *(f"{name}.tif" for name in PLANES),
)


def lattice_tables(lattice: LatticeMaps | None) -> dict[str, pd.DataFrame]:
    """Tables by file name without its suffix; none where nothing was measured."""
    if lattice is None:
        return {}
    return {
        "lattice": lattice.columns[list(LATTICE_FIELDS)],
        "dislocations": lattice.dislocations[list(DISLOCATION_FIELDS)],
        "depth_profile": lattice.depth_profile[list(DEPTH_PROFILE_FIELDS)],
    }


def lattice_planes(lattice: LatticeMaps | None) -> dict[str, np.ndarray]:
    """Maps by file name without its suffix."""
    if lattice is None:
        return {}
    return {name: plane.astype(np.float32, copy=False) for name, plane in lattice.planes().items()}


def stored_lattice(lattice: LatticeMaps | None) -> dict[str, Any] | None:
    """What reading needs beside the files."""
    if lattice is None:
        return None
    return {
        "summary": lattice.summary,
        "dislocations": lattice.dislocation_summary,
        "faults": lattice.fault_summary,
        "warnings": list(lattice.warnings),
    }


def read_lattice(folder: Path, stored: Mapping[str, Any]) -> LatticeMaps | None:
    """The lattice maps of a folder, None where it has none.

    Raises
    ------
    OutputError
        If a file is missing or damaged.
    """
    numbers, types = stored.get("lattice"), stored["types"]
    if numbers is None:
        return None
    return LatticeMaps(
        columns=read_table(folder / "lattice.csv", types["lattice"], LATTICE_FIELDS),
        dislocations=read_table(folder / "dislocations.csv", types["dislocations"], DISLOCATION_FIELDS),
        depth_profile=_depth_profile(folder / "depth_profile.csv", types["depth_profile"]),
        **{name: read_map(folder / f"{name}.tif", np.float32) for name in PLANES},
        summary=dict(numbers["summary"]),
        dislocation_summary=dict(numbers["dislocations"]),
        fault_summary=dict(numbers["faults"]),
        warnings=tuple(numbers["warnings"]),
    )


def _depth_profile(path: Path, types: Mapping[str, str]) -> pd.DataFrame:
    """depth_profile.csv; in one of an earlier version all surfaces are one, which had no number."""
    table = read_table(path, types, DEPTH_PROFILE_FIELDS[1:])
    return table if "surface_id" in table else table.assign(surface_id=0)[list(DEPTH_PROFILE_FIELDS)]

"""What a cohort needs of a result folder: its summary, surface points and faults, without columns and pictures."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from atomseg.errors import OutputError
from atomseg.io.foreign import first_line
from atomseg.io.maps import read_map
from atomseg.io.results import is_result_folder
from atomseg.io.tables import read_table
from atomseg.types import Verdict

# Columns of words, or of numbers, are told apart here: a table may have columns that this version does not know.
_POINT_TYPES = {"reason": "text", "surface_kind": "text"}
_POINT_FIELDS = ("surface_id", "thickness_nm", "upper_nm", "event")


@dataclass(frozen=True)
class MeasuredResult:
    """The measurements of one micrograph.

    Parameters
    ----------
    folder : str
        Result folder relative to the output folder, with forward slashes.
    path : str
        Input file; the name of the input where it was an array.
    sha256 : str
        Its hash.
    judged : bool
        False when a fitness check stopped the judging of phases.
    phase_fractions : dict
        Share of the crystal's area by phase key; empty without crystal.
    points : pandas.DataFrame
        thickness.csv.
    fault_length_nm : float
        Total length of the O1 faults.
    crystal_nm2 : float or None
        Area of the crystal in view; None where phases.tif is missing.
    detection_nm : float
        Thinnest layer that could be told from none.
    """

    folder: str
    path: str
    sha256: str
    judged: bool
    phase_fractions: dict[str, float]
    points: pd.DataFrame
    fault_length_nm: float
    crystal_nm2: float | None
    detection_nm: float


def find_results(output: Path) -> list[Path]:
    """Result folders below an output folder, in the order of their names.

    Raises
    ------
    OutputError
        If the output folder is not there.
    """
    if not output.is_dir():
        raise OutputError(f"{output} is not a folder; give one that `atomseg map` wrote")
    return sorted(_below(output))


def _below(folder: Path) -> Iterator[Path]:
    if is_result_folder(folder):
        yield folder
        return
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.name.startswith("."):
            yield from _below(entry)


def read_measured(folder: Path, output: Path) -> MeasuredResult:
    """The measurements in one result folder.

    Parameters
    ----------
    folder : pathlib.Path
        Result folder.
    output : pathlib.Path
        The output folder that it lies in.

    Raises
    ------
    OutputError
        If a file is missing or damaged.
    """
    try:
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise OutputError(f"{folder}/summary.json can not be read back: {first_line(exc)}") from exc
    points = read_table(folder / "thickness.csv", _POINT_TYPES, _POINT_FIELDS)
    faults = read_table(folder / "faults.csv", {}, ("length_nm",))
    try:
        given = summary["input"]
        return MeasuredResult(
            folder=folder.relative_to(output).as_posix(),
            path=str(given["path"] or given["name"]),
            sha256=str(given["sha256"]),
            judged=all(check["verdict"] != Verdict.STOP for check in summary["checks"]),
            phase_fractions={str(key): float(share) for key, share in summary["phase_fractions"].items()},
            points=points,
            fault_length_nm=float(faults["length_nm"].sum()),
            crystal_nm2=_crystal_nm2(folder, summary),
            detection_nm=_detection_nm(summary, points),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise OutputError(f"{folder}/summary.json is damaged ({first_line(repr(exc))}); map the input again") from exc


def _crystal_nm2(folder: Path, summary: Mapping[str, Any]) -> float | None:
    path = folder / "phases.tif"
    if not path.is_file():
        return None
    pixel_y, pixel_x = summary["calibration"]["pixel_size_nm"]
    return float(np.count_nonzero(read_map(path, np.uint8)) * pixel_y * pixel_x)


def _detection_nm(summary: Mapping[str, Any], points: pd.DataFrame) -> float:
    """The limit among the settings; else the upper bound of points without a layer; else none."""
    measure = (summary["provenance"].get("config") or {}).get("measure") or {}
    if measure.get("detection_limit_nm") is not None:
        return float(measure["detection_limit_nm"])
    limits = points.loc[(points["event"] > 0) & (points["thickness_nm"] <= 0), "upper_nm"].dropna()
    return float(limits.max()) if len(limits) else 0.0

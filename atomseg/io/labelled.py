"""Images to learn from: folders of simulated scenes, and micrographs with a table of their columns."""

from pathlib import Path

import numpy as np
import pandas as pd

from atomseg.errors import InputError
from atomseg.io.foreign import first_line
from atomseg.io.micrograph import read_micrograph
from atomseg.io.scenes import read_scene
from atomseg.types import Columns, Micrograph, PhaseMap, ReconstructionProfile, Scene
from atomseg.types.columns import LOCALIZATION_FIELDS
from atomseg.types.phases import PHASE_FIELDS
from atomseg.types.reconstruction import FAULT_FIELDS, PROFILE_FIELDS

# A labelled column is one that must be found, whatever its signal-to-noise ratio: any value above every threshold.
_LABELLED_SNR = 100.0


def read_training_folder(folder: Path) -> list[Scene]:
    """All scenes in a folder: sub-folders as `write_scene` makes them, and micrographs ``NAME.*`` with ``NAME.csv``.

    Raises
    ------
    InputError
        If there is nothing to learn from, or a table can not be used.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; give one with simulated scenes, or with NAME.tif and NAME.csv")
    scenes = [read_scene(path.parent) for path in sorted(folder.glob("*/truth.json"))]
    if (folder / "truth.json").is_file():
        scenes.append(read_scene(folder))
    else:
        scenes += [read_labelled(image, table) for image, table in _labelled_files(folder)]
    if not scenes:
        raise InputError(
            f"{folder} holds nothing to learn from: no scene folders (truth.json), no image NAME.tif with its NAME.csv"
        )
    return scenes


def read_labelled(image: Path, table: Path) -> Scene:
    """A micrograph with the positions of its columns; their brightness and width are not known (NaN).

    Parameters
    ----------
    image : pathlib.Path
        Micrograph with a pixel size.
    table : pathlib.Path
        CSV (comma, semicolon or tab; with semicolons, decimal commas too) with the columns y_px and x_px (centre of the
        first pixel is 0), one row a column. Every column that can be seen must be in it: what is not listed is taught
        to be no column.

    Raises
    ------
    InputError
        If the table can not be read, lacks a column, or has positions outside the image.
    """
    micrograph = read_micrograph(image)
    yx = _positions(table)
    last = np.array(micrograph.shape) - 0.5
    inside = (np.isfinite(yx) & (yx >= -0.5) & (yx < last)).all(axis=1)
    if not inside.all():
        y, x = yx[~inside][0]
        raise InputError(f"{table}: position ({y:g}, {x:g}) lies outside {image.name} of {micrograph.shape} pixels")
    return _scene(micrograph, yx)


def _positions(table: Path) -> np.ndarray:
    """(N, 2) y_px and x_px of a table, whichever way a spreadsheet wrote it."""
    try:
        with table.open(encoding="utf-8-sig") as stream:
            header = stream.readline()
        separator = max(",;\t", key=header.count)
        # Programs write semicolons where the comma is the decimal sign; numbers with a point are read nevertheless.
        decimal = "," if separator == ";" else "."
        given = pd.read_csv(table, sep=separator, decimal=decimal, encoding="utf-8-sig", skipinitialspace=True)
    except (OSError, ValueError) as exc:
        raise InputError(
            f"{table} can not be read as a table ({first_line(exc)}); give a CSV with the columns y_px and x_px"
        ) from exc
    # Decimal commas between commas: pandas takes the cells in excess for names of the rows.
    if len(given) and not isinstance(given.index, pd.RangeIndex):
        raise InputError(
            f"{table} has rows of more cells than its first line names; with decimal commas, separate by semicolons"
        )
    if not {"y_px", "x_px"} <= set(given.columns):
        found = ", ".join(map(str, given.columns))
        raise InputError(f"{table} needs the columns y_px and x_px; its first line names {found}")
    try:
        return given[["y_px", "x_px"]].to_numpy(dtype=np.float64)
    except ValueError as exc:
        raise InputError(f"{table} needs numbers in the columns y_px and x_px ({first_line(exc)})") from exc


def _labelled_files(folder: Path) -> list[tuple[Path, Path]]:
    """Images that have a table of the same name."""
    pairs = []
    for table in sorted(folder.glob("*.csv")):
        images = [p for p in sorted(folder.glob(f"{table.stem}.*")) if p.suffix.lower() != ".csv"]
        if len(images) != 1:
            seen = ", ".join(p.name for p in images) or "none"
            raise InputError(f"{table} belongs to one image {table.stem}.*; there: {seen}")
        pairs.append((images[0], table))
    return pairs


def _scene(micrograph: Micrograph, yx_px: np.ndarray) -> Scene:
    """Scene of which the positions are known and nothing else."""
    table = pd.DataFrame({name: np.full(len(yx_px), np.nan) for name in LOCALIZATION_FIELDS})
    pixel = np.asarray(micrograph.calibration.pixel_size_nm)
    table["id"], table["flags"], table["probability"] = np.arange(len(yx_px)), 0, 1.0
    table[["y_px", "x_px"]], table[["y_nm", "x_nm"]] = yx_px, yx_px * pixel
    table["required"], table["snr"] = 1, _LABELLED_SNR
    empty = np.zeros(micrograph.shape, dtype=np.float32)
    return Scene(
        micrograph=micrograph,
        columns=Columns(table),
        phases=PhaseMap(
            labels=empty.astype(np.uint8),
            confidence=empty,
            occupancy=empty,
            columns=pd.DataFrame(columns=list(PHASE_FIELDS)),
            gaps=pd.DataFrame(),
        ),
        reconstruction=ReconstructionProfile(
            points=pd.DataFrame(columns=list(PROFILE_FIELDS)),
            faults=pd.DataFrame(columns=list(FAULT_FIELDS)),
            depth_nm=empty,
        ),
        crystal=np.full(micrograph.shape, bool(len(yx_px))),
        parameters={},
    )

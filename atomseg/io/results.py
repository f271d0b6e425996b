"""The result folder of one micrograph: written whole or not at all, and read back."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from atomseg.errors import AtomsegError, OutputError
from atomseg.imaging import OutputImage
from atomseg.io.atomic import whole_folder
from atomseg.io.foreign import first_line
from atomseg.io.lattice import LATTICE_FILES, lattice_planes, lattice_tables, read_lattice, stored_lattice
from atomseg.io.maps import read_map, write_map
from atomseg.io.micrograph import read_micrograph
from atomseg.io.summary import (
    SCHEMA,
    check_dict,
    checks_from,
    frame_dict,
    frames_from,
    json_ready,
    provenance_from,
    summarize,
    surfaces_from,
    thickness_from,
)
from atomseg.io.tables import (
    COLUMN_TABLE_FIELDS,
    columns_table,
    flag_values,
    phase_codes,
    phase_labels,
    read_table,
    table_types,
    write_table,
)
from atomseg.types import (
    AnalysisRecord,
    Calibration,
    CalibrationOrigin,
    Columns,
    Micrograph,
    PhaseMap,
    ReconstructionProfile,
    Stacking,
)
from atomseg.types.columns import LOCALIZATION_FIELDS
from atomseg.types.layers import LAYER_FIELDS
from atomseg.types.phases import PHASE_FIELDS
from atomseg.types.reconstruction import FAULT_FIELDS, MEASURED_FIELDS, PROFILE_FIELDS

# Without these a folder is no complete result.
_FILES = (
    "columns.csv",
    "gaps.csv",
    "layers.csv",
    "thickness.csv",
    "faults.csv",
    "phases.tif",
    "confidence.tif",
    "restored.tif",
    "occupancy.tif",
    "depth.tif",
)
_SUMMARY = "summary.json"
_NO_FIGURES: Mapping[str, bytes] = MappingProxyType({})
_NO_OUTPUTS: Mapping[str, OutputImage] = MappingProxyType({})


def write_analysis(
    record: AnalysisRecord,
    folder: Path,
    *,
    figures: Mapping[str, bytes] = _NO_FIGURES,
    outputs: Mapping[str, OutputImage] = _NO_OUTPUTS,
    overwrite: bool = False,
) -> None:
    """Write every table, map and figure of one result, whole or not at all.

    Parameters
    ----------
    record : AnalysisRecord
        What the pipeline found.
    folder : pathlib.Path
        Result folder to make.
    figures : mapping of str to bytes
        Further files by name, e.g. ``overview.png``.
    outputs : mapping of str to OutputImage
        Further pictures by name; each becomes a 32-bit float ``NAME.tif`` with its own pixel size.
    overwrite : bool
        Replace an earlier result in `folder`; a folder with other files in it is never replaced.

    Raises
    ------
    OutputError
        If the folder exists already or can not be written; nothing is left behind then.
    """
    odd = [name for name in figures if Path(name).name != name or name in (*_FILES, *LATTICE_FILES, _SUMMARY)]
    if odd:
        raise OutputError(f"a figure can not be named {odd[0]!r}: allowed are plain file names that no result file has")
    with whole_folder(Path(folder), overwrite=overwrite, replaceable=is_result_folder) as target:
        tables = _tables(record)
        for name, table in tables.items():
            write_table(target / f"{name}.csv", table)
        for name, plane in _planes(record).items():
            write_map(target / f"{name}.tif", plane, record.micrograph.calibration.pixel_size_nm)
        for name, output in outputs.items():
            write_map(target / f"{name}.tif", output.image.astype(np.float32, copy=False), output.pixel_size_nm)
        for name, content in figures.items():
            (target / name).write_bytes(content)
        summary = {**summarize(record), "stored": json_ready(_stored(record, tables))}
        text = json.dumps(summary, indent=2, ensure_ascii=False, allow_nan=False)
        (target / _SUMMARY).write_text(text + "\n", encoding="utf-8")


def read_analysis(folder: Path) -> AnalysisRecord:
    """The result that `write_analysis` wrote.

    Tables come back with the digits that they were written with, maps exactly. The input image is read again from
    where it was found; when it is gone or has changed, the restored image takes its place and a warning says so.

    Raises
    ------
    OutputError
        If the folder does not hold a complete result.
    """
    folder = Path(folder)
    summary = _read_summary(folder)
    missing = [name for name in _files_of(summary) if not (folder / name).is_file()]
    if missing:
        raise OutputError(f"{folder} is not a complete result: {', '.join(missing)} missing; map the input again")
    try:
        return _assemble(folder, summary)
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise OutputError(f"{folder}/{_SUMMARY} is damaged ({first_line(repr(exc))}); map the input again") from exc


def is_result_folder(folder: Path) -> bool:
    """True for a folder that `write_analysis` made."""
    try:
        _read_summary(folder)
    except OutputError:
        return False
    return True


def result_matches(folder: Path, *, sha256: str, config: Mapping[str, object], model_sha256: str) -> bool:
    """Whether a folder holds the complete result of the same input, configuration and model.

    Parameters
    ----------
    folder : pathlib.Path
        Result folder, which need not exist.
    sha256 : str
        Hash of the input.
    config : mapping
        Configuration as kept in the provenance.
    model_sha256 : str
        Hash of the model's weights.
    """
    try:
        summary = _read_summary(Path(folder))
        provenance = summary["provenance"]
        same = (summary["input"]["sha256"], provenance["model_sha256"]) == (sha256, model_sha256)
        same = same and provenance["config"] == json_ready(config)
    except (OutputError, KeyError, TypeError):
        return False
    return bool(same) and all((Path(folder) / name).is_file() for name in _files_of(summary))


def _files_of(summary: Mapping[str, Any]) -> tuple[str, ...]:
    """Files that this result is complete with."""
    stored = summary.get("stored")
    has_lattice = isinstance(stored, Mapping) and stored.get("lattice") is not None
    return (*_FILES, *LATTICE_FILES) if has_lattice else _FILES


def _tables(record: AnalysisRecord) -> dict[str, pd.DataFrame]:
    gaps = record.phases.gaps
    gaps = gaps.assign(phase=phase_labels(gaps["phase"])) if "phase" in gaps else gaps
    return {
        "columns": columns_table(record),
        "gaps": gaps,
        "layers": record.phases.layers,
        "thickness": record.thickness.points.filter([*PROFILE_FIELDS, *MEASURED_FIELDS]),
        "faults": record.thickness.faults[list(FAULT_FIELDS)],
        **lattice_tables(record.lattice),
    }


def _planes(record: AnalysisRecord) -> dict[str, np.ndarray]:
    return {
        "phases": record.phases.labels.astype(np.uint8, copy=False),
        "confidence": record.phases.confidence.astype(np.float32, copy=False),
        "restored": record.restored.astype(np.float32, copy=False),
        "occupancy": record.phases.occupancy.astype(np.float32, copy=False),
        "depth": record.thickness.depth_nm.astype(np.float32, copy=False),
        **lattice_planes(record.lattice),
    }


def _stored(record: AnalysisRecord, tables: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """What `read_analysis` needs beyond the keys that are promised to other programs."""
    return {
        "frames": [frame_dict(frame) for frame in record.phases.frames],
        "phase_checks": [check_dict(check) for check in record.phases.checks],
        "thickness_warnings": list(record.thickness.warnings),
        "lattice": stored_lattice(record.lattice),
        "types": {name: table_types(table) for name, table in tables.items()},
    }


def _read_summary(folder: Path) -> dict[str, Any]:
    path = folder / _SUMMARY
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as exc:
        raise OutputError(f"{folder} holds no result: {_SUMMARY} is missing") from exc
    except (OSError, ValueError) as exc:
        raise OutputError(f"{path} can not be read back: {first_line(exc)}") from exc
    schema = summary.get("schema") if isinstance(summary, dict) else None
    if schema != SCHEMA:
        raise OutputError(f"{path} has schema {schema!r}; this version reads {SCHEMA!r}")
    return dict(summary)


def _assemble(folder: Path, summary: Mapping[str, Any]) -> AnalysisRecord:
    types = summary["stored"]["types"]
    table = read_table(folder / "columns.csv", types["columns"], COLUMN_TABLE_FIELDS)
    table["flags"] = flag_values(table["flags"])
    table["phase"] = phase_codes(table["phase"])
    restored = read_map(folder / "restored.tif", np.float32)
    micrograph, note = _reload(summary, restored)
    warnings = tuple(summary["warnings"])
    return AnalysisRecord(
        micrograph=micrograph,
        localized=Columns(table[list(LOCALIZATION_FIELDS)].copy()),
        phases=_phase_map(folder, summary, table[list(PHASE_FIELDS)].copy()),
        thickness=_profile(folder, summary),
        restored=restored,
        checks=checks_from(summary["checks"]),
        warnings=(*warnings, note) if note and note not in warnings else warnings,
        provenance=provenance_from(summary["provenance"]),
        lattice=read_lattice(folder, summary["stored"]),
        input_lost=note is not None,
    )


def _phase_map(folder: Path, summary: Mapping[str, Any], columns: pd.DataFrame) -> PhaseMap:
    stored = summary["stored"]
    gaps = read_table(folder / "gaps.csv", stored["types"]["gaps"])
    return PhaseMap(
        labels=read_map(folder / "phases.tif", np.uint8),
        confidence=read_map(folder / "confidence.tif", np.float32),
        occupancy=read_map(folder / "occupancy.tif", np.float32),
        columns=columns,
        gaps=gaps.assign(phase=phase_codes(gaps["phase"])) if "phase" in gaps else gaps,
        frames=frames_from(stored["frames"]),
        checks=checks_from(stored["phase_checks"]),
        layers=read_table(folder / "layers.csv", stored["types"]["layers"], LAYER_FIELDS),
        stacking=Stacking(**summary["stacking"]),
    )


def _profile(folder: Path, summary: Mapping[str, Any]) -> ReconstructionProfile:
    stored, overall = summary["stored"], summary["thickness"]
    return ReconstructionProfile(
        points=read_table(folder / "thickness.csv", stored["types"]["thickness"], PROFILE_FIELDS),
        faults=read_table(folder / "faults.csv", stored["types"]["faults"], FAULT_FIELDS),
        depth_nm=read_map(folder / "depth.tif", np.float32),
        summary=None if overall is None else thickness_from(overall),
        surfaces=surfaces_from(overall),
        warnings=tuple(stored["thickness_warnings"]),
    )


def _reload(summary: Mapping[str, Any], restored: np.ndarray) -> tuple[Micrograph, str | None]:
    """The input as it was mapped; the restored image in its place, and why, when it can not be had."""
    given, scale = summary["input"], summary["calibration"]
    calibration = Calibration(
        (float(scale["pixel_size_nm"][0]), float(scale["pixel_size_nm"][1])), CalibrationOrigin(scale["origin"])
    )
    kept = Micrograph(
        image=restored,
        calibration=calibration,
        name=given["name"],
        path=given["path"],
        sha256=given["sha256"],
        frame=given["frame"],
        n_frames=int(given["n_frames"]),
        metadata=dict(given["metadata"]),
        warnings=tuple(given["warnings"]),
    )
    if kept.path is None:
        return kept, "the input was an array and is not kept: the restored image stands in for it"
    frame = kept.frame if kept.frame.isdecimal() else "mean"
    try:
        found = read_micrograph(kept.path, pixel_size_nm=calibration.pixel_size_nm, frame=frame)
    except AtomsegError as exc:
        return kept, f"the input image can not be read again ({exc}): the restored image stands in for it"
    if found.sha256 != kept.sha256 or found.shape != tuple(given["shape"]):
        return kept, f"the input image {kept.path} has changed since it was mapped: the restored image stands in for it"
    return dataclasses.replace(kept, image=found.image, invalid=found.invalid), None

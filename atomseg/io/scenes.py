"""Simulated micrographs with their truth, one folder a scene."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from atomseg.errors import OutputError
from atomseg.io.atomic import whole_folder
from atomseg.io.foreign import first_line
from atomseg.io.formats import sha256_of
from atomseg.io.maps import read_map, write_map
from atomseg.io.summary import (
    check_dict,
    checks_from,
    frame_dict,
    frames_from,
    input_dict,
    json_ready,
    thickness_dict,
    thickness_from,
)
from atomseg.io.tables import phase_codes, phase_labels, read_table, table_types, write_exact_table
from atomseg.types import Calibration, CalibrationOrigin, Columns, Micrograph, PhaseMap, ReconstructionProfile, Scene

SCENE_SCHEMA = "atomseg.scene/1"
_TRUTH = "truth.json"


def write_scene(scene: Scene, folder: Path, *, overwrite: bool = False) -> None:
    """Write a scene, whole or not at all.

    ``image.tif`` is the calibrated micrograph (16 bits when every pixel is a whole number in that range, 32-bit float
    otherwise), ``truth_*.tif`` and ``truth_*.csv`` hold the truth on its pixel grid and in tables, ``truth.json``
    the parameters and the thickness.

    Raises
    ------
    OutputError
        If the folder exists already or can not be written; nothing is left behind then.
    """
    tables = {
        "columns": scene.columns.table,
        "phase_columns": scene.phases.columns.assign(phase=phase_labels(scene.phases.columns["phase"])),
        "gaps": scene.phases.gaps,
        "thickness": scene.reconstruction.points,
        "faults": scene.reconstruction.faults,
    }
    size = scene.micrograph.calibration.pixel_size_nm
    with whole_folder(Path(folder), overwrite=overwrite, replaceable=_is_scene_folder) as target:
        write_map(target / "image.tif", _compact(scene.micrograph.image), size)
        for name, plane in _planes(scene).items():
            write_map(target / f"truth_{name}.tif", plane, size)
        for name, table in tables.items():
            write_exact_table(target / f"truth_{name}.csv", table)
        types = {name: table_types(table) for name, table in tables.items()}
        text = json.dumps(json_ready(_truth(scene, types)), indent=2, ensure_ascii=False, allow_nan=False)
        (target / _TRUTH).write_text(text + "\n", encoding="utf-8")


def read_scene(folder: Path) -> Scene:
    """The scene that `write_scene` wrote.

    Raises
    ------
    OutputError
        If the folder does not hold a complete scene.
    """
    folder = Path(folder)
    truth = _read_truth(folder)
    try:
        return _assemble(folder, truth)
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise OutputError(f"{folder}/{_TRUTH} is damaged ({first_line(repr(exc))}); simulate the scene again") from exc


def _is_scene_folder(folder: Path) -> bool:
    try:
        _read_truth(folder)
    except OutputError:
        return False
    return True


def _read_truth(folder: Path) -> dict[str, Any]:
    path = folder / _TRUTH
    try:
        truth = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as exc:
        raise OutputError(f"{folder} holds no scene: {_TRUTH} is missing") from exc
    except (OSError, ValueError) as exc:
        raise OutputError(f"{path} can not be read back: {first_line(exc)}") from exc
    schema = truth.get("schema") if isinstance(truth, dict) else None
    if schema != SCENE_SCHEMA:
        raise OutputError(f"{path} has schema {schema!r}; this version reads {SCENE_SCHEMA!r}")
    return dict(truth)


def _compact(image: np.ndarray) -> np.ndarray:
    counts = image.astype(np.uint16, copy=True) if image.min() >= 0 and image.max() <= np.iinfo(np.uint16).max else None
    return counts if counts is not None and np.array_equal(counts, image) else image


def _planes(scene: Scene) -> dict[str, np.ndarray]:
    planes: dict[str, np.ndarray] = {
        "phases": scene.phases.labels.astype(np.uint8, copy=False),
        "confidence": scene.phases.confidence.astype(np.float32, copy=False),
        "occupancy": scene.phases.occupancy.astype(np.float32, copy=False),
        "depth": scene.reconstruction.depth_nm.astype(np.float32, copy=False),
        "crystal": scene.crystal.astype(np.uint8),
    }
    return planes if scene.clean is None else {**planes, "clean": scene.clean.astype(np.float32, copy=False)}


def _truth(scene: Scene, types: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    calibration = scene.micrograph.calibration
    return {
        "schema": SCENE_SCHEMA,
        "input": input_dict(scene.micrograph),
        "calibration": {"pixel_size_nm": list(calibration.pixel_size_nm), "origin": str(calibration.origin)},
        "parameters": scene.parameters,
        "phase_fractions": scene.phases.fractions(),
        "thickness": thickness_dict(scene.reconstruction),
        "thickness_warnings": list(scene.reconstruction.warnings),
        "frames": [frame_dict(frame) for frame in scene.phases.frames],
        "checks": [check_dict(check) for check in scene.phases.checks],
        "types": types,
    }


def _assemble(folder: Path, truth: Mapping[str, Any]) -> Scene:
    types = truth["types"]
    columns = read_table(folder / "truth_phase_columns.csv", types["phase_columns"])
    clean = folder / "truth_clean.tif"
    overall = truth["thickness"]
    return Scene(
        micrograph=_micrograph(folder, truth),
        columns=Columns(read_table(folder / "truth_columns.csv", types["columns"])),
        phases=PhaseMap(
            labels=read_map(folder / "truth_phases.tif", np.uint8),
            confidence=read_map(folder / "truth_confidence.tif", np.float32),
            occupancy=read_map(folder / "truth_occupancy.tif", np.float32),
            columns=columns.assign(phase=phase_codes(columns["phase"])),
            gaps=read_table(folder / "truth_gaps.csv", types["gaps"]),
            frames=frames_from(truth["frames"]),
            checks=checks_from(truth["checks"]),
        ),
        reconstruction=ReconstructionProfile(
            points=read_table(folder / "truth_thickness.csv", types["thickness"]),
            faults=read_table(folder / "truth_faults.csv", types["faults"]),
            depth_nm=read_map(folder / "truth_depth.tif", np.float32),
            summary=None if overall is None else thickness_from(overall),
            surfaces={} if overall is None else {int(e["surface_id"]): thickness_from(e) for e in overall["surfaces"]},
            warnings=tuple(truth["thickness_warnings"]),
        ),
        crystal=read_map(folder / "truth_crystal.tif", np.uint8).astype(bool),
        parameters=dict(truth["parameters"]),
        clean=read_map(clean, np.float32) if clean.is_file() else None,
    )


def _micrograph(folder: Path, truth: Mapping[str, Any]) -> Micrograph:
    given, scale = truth["input"], truth["calibration"]
    path = folder / "image.tif"
    return Micrograph(
        image=read_map(path, np.uint16, np.float32).astype(np.float32, copy=False),
        calibration=Calibration(
            (float(scale["pixel_size_nm"][0]), float(scale["pixel_size_nm"][1])), CalibrationOrigin(scale["origin"])
        ),
        name=given["name"],
        path=str(path.absolute()),
        sha256=sha256_of(path),
        frame=given["frame"],
        n_frames=int(given["n_frames"]),
        metadata=dict(given["metadata"]),
        warnings=tuple(given["warnings"]),
    )

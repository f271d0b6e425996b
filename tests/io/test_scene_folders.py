"""Scenes on disk: image and truth come back exactly."""

import dataclasses
import errno
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from atomseg.errors import OutputError
from atomseg.io import read_micrograph, read_scene, write_scene
from atomseg.types import AnalysisRecord, Calibration, CalibrationOrigin, Columns, Micrograph, Scene


@pytest.fixture
def scene(record: AnalysisRecord) -> Scene:
    """Truth in the types of a result, with the columns that only truth has."""
    table = record.localized.table.assign(
        species=["Ni", "Li", "Ni", "mixed"], occupancy=[1.0, 1 / 3, 1.0, 0.1], required=[1, 0, 1, 1]
    )
    calibration = Calibration((0.02, 0.02), CalibrationOrigin.METADATA)
    return Scene(
        micrograph=dataclasses.replace(record.micrograph, calibration=calibration, name="scene_0003"),
        columns=Columns(table),
        phases=record.phases,
        reconstruction=record.thickness,
        crystal=np.isfinite(record.thickness.depth_nm),
        parameters={"seed": 3, "dose": 812.5, "faults": [[1, 2.5]], "note": "Å"},
    )


def test_round_trip_is_exact(scene: Scene, tmp_path: Path) -> None:
    write_scene(scene, tmp_path / "s")
    got = read_scene(tmp_path / "s")
    pd.testing.assert_frame_equal(got.columns.table, scene.columns.table, check_dtype=False, check_exact=True)
    pd.testing.assert_frame_equal(got.phases.columns, scene.phases.columns, check_dtype=False, check_exact=True)
    pd.testing.assert_frame_equal(got.phases.gaps, scene.phases.gaps, check_dtype=False, check_exact=True)
    pd.testing.assert_frame_equal(
        got.reconstruction.points, scene.reconstruction.points, check_dtype=False, check_exact=True
    )
    pd.testing.assert_frame_equal(
        got.reconstruction.faults, scene.reconstruction.faults, check_dtype=False, check_exact=True
    )
    for name in ("labels", "confidence", "occupancy"):
        assert np.array_equal(getattr(got.phases, name), getattr(scene.phases, name), equal_nan=name == "occupancy")
    assert np.array_equal(got.reconstruction.depth_nm, scene.reconstruction.depth_nm, equal_nan=True)
    assert np.array_equal(got.crystal, scene.crystal)
    assert got.crystal.dtype == bool
    assert got.parameters == scene.parameters
    assert (got.reconstruction.summary, got.phases.frames) == (scene.reconstruction.summary, scene.phases.frames)
    kept = ("calibration", "name", "frame", "n_frames", "metadata", "warnings")
    for field in kept:
        assert getattr(got.micrograph, field) == getattr(scene.micrograph, field)
    assert np.array_equal(got.micrograph.image, scene.micrograph.image)


@pytest.mark.parametrize(
    ("offset", "dtype"), [(0.0, np.uint16), (0.25, np.float32), (-4000.0, np.float32), (70000.0, np.float32)]
)
def test_the_image_is_a_micrograph_like_any_other(scene: Scene, tmp_path: Path, offset: float, dtype: type) -> None:
    image = scene.micrograph.image + np.float32(offset)
    write_scene(
        dataclasses.replace(scene, micrograph=dataclasses.replace(scene.micrograph, image=image)), tmp_path / "s"
    )
    got = read_micrograph(tmp_path / "s" / "image.tif")
    assert np.array_equal(got.image, image)
    assert got.calibration.pixel_size_nm == pytest.approx((0.02, 0.02), rel=1e-6)  # 32-bit rationals
    assert tifffile.imread(tmp_path / "s" / "image.tif").dtype == dtype
    again = read_scene(tmp_path / "s").micrograph
    assert isinstance(again, Micrograph)
    assert (again.sha256, again.path) == (got.sha256, got.path)
    assert np.array_equal(again.image, image)


def test_truth_is_not_mistaken_for_input(scene: Scene, tmp_path: Path) -> None:
    write_scene(scene, tmp_path / "s")
    names = sorted(path.name for path in (tmp_path / "s").iterdir())
    assert [name for name in names if not name.startswith("truth")] == ["image.tif"]


def test_whole_or_not_at_all(scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(pd.DataFrame, "to_csv", full)
        with pytest.raises(OutputError, match="the disk is full"):
            write_scene(scene, tmp_path / "s")
    assert list(tmp_path.iterdir()) == []
    write_scene(scene, tmp_path / "s")
    with pytest.raises(OutputError, match="--overwrite"):
        write_scene(scene, tmp_path / "s")
    write_scene(scene, tmp_path / "s", overwrite=True)


def test_incomplete_scenes_are_refused(scene: Scene, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="holds no scene"):
        read_scene(tmp_path)
    write_scene(scene, tmp_path / "s")
    (tmp_path / "s" / "truth_gaps.csv").unlink()
    with pytest.raises(OutputError, match=r"truth_gaps\.csv"):
        read_scene(tmp_path / "s")
    text = (tmp_path / "s" / "truth.json").read_text()
    (tmp_path / "s" / "truth.json").write_text(text.replace('"types"', '"tapes"'))
    with pytest.raises(OutputError, match="damaged"):
        read_scene(tmp_path / "s")

"""Result folders: exactly what is promised, whole or not at all, and read back."""

import dataclasses
import errno
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from rsciio.tiff import file_reader

from atomseg.errors import OutputError
from atomseg.io import (
    is_result_folder,
    read_analysis,
    read_micrograph,
    result_matches,
    summarize,
    write_analysis,
)
from atomseg.types import AnalysisRecord, CalibrationOrigin, Micrograph, ReconstructionProfile

COLUMNS = [
    "id",
    "y_px",
    "x_px",
    "y_nm",
    "x_nm",
    "sigma_y_pm",
    "sigma_x_pm",
    "amplitude",
    "background",
    "fwhm_major_nm",
    "fwhm_minor_nm",
    "theta_deg",
    "probability",
    "phase",
    "p_layered",
    "p_rocksalt",
    "p_o1",
    "p_unresolved",
    "row_id",
    "stacking_shift",
    "interlayer_occupancy",
    "interlayer_occupancy_err",
    "depth_nm",
    "flags",
]
POINTS = [
    "surface_id",
    "s_nm",
    "y_px",
    "x_px",
    "normal_deg",
    "facet_deg",
    "thickness_nm",
    "lower_nm",
    "upper_nm",
    "t_50_nm",
    "t_rocksalt_nm",
    "t_mix_nm",
    "front_width_nm",
    "available_nm",
    "event",
    "reason",
]
KEYS = [
    "schema",
    "input",
    "calibration",
    "checks",
    "columns",
    "phase_fractions",
    "stacking",
    "thickness",
    "faults",
    "lattice",
    "dislocations",
    "warnings",
    "provenance",
]


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def without_surface(record: AnalysisRecord) -> AnalysisRecord:
    old = record.thickness
    none = ReconstructionProfile(old.points.iloc[:0], old.faults.iloc[:0], np.full_like(old.depth_nm, np.nan))
    return dataclasses.replace(record, thickness=none)


def test_files_and_tables_are_those_promised(record: AnalysisRecord, tmp_path: Path) -> None:
    write_analysis(record, tmp_path / "deep" / "a", figures={"overview.png": b"png", "overview.pdf": b"pdf"})
    folder = tmp_path / "deep" / "a"
    tables, maps = {"columns.csv", "thickness.csv", "faults.csv"}, {"phases.tif", "confidence.tif", "restored.tif"}
    assert tables | maps | {"summary.json", "overview.png", "overview.pdf"} <= set(entries(folder))
    assert entries(tmp_path / "deep") == ["a"]  # no temporary folder left
    table = pd.read_csv(folder / "columns.csv")
    assert list(table.columns) == COLUMNS
    assert table["phase"].tolist() == ["R-3m", "rocksalt", "O1", "unresolved"]
    assert table["flags"].fillna("").tolist() == ["", "border", "border|overlap", "saturated"]
    depth = record.thickness.depth_nm
    assert table["depth_nm"].to_numpy() == pytest.approx(
        [np.nan, depth[10, 30], depth[20, 59], depth[47, 5]], nan_ok=True, abs=1e-4
    )
    assert list(pd.read_csv(folder / "thickness.csv").columns) == POINTS
    assert (folder / "overview.png").read_bytes() == b"png"


@pytest.mark.parametrize("name", ["phases", "confidence", "restored", "occupancy", "depth"])
def test_maps_are_calibrated_for_imagej(record: AnalysisRecord, tmp_path: Path, name: str) -> None:
    write_analysis(record, tmp_path / "a")
    with tifffile.TiffFile(tmp_path / "a" / f"{name}.tif") as tif:
        assert tif.is_imagej
        assert tif.imagej_metadata is not None
        assert tif.imagej_metadata["unit"] == "nm"
        x, y = (tif.pages[0].tags[f"{axis}Resolution"].value for axis in "XY")
        assert (y[1] / y[0], x[1] / x[0]) == pytest.approx((0.02, 0.021), rel=1e-6)  # 32-bit rationals
        assert tif.asarray().dtype == (np.uint8 if name == "phases" else np.float32)


@pytest.mark.parametrize("name", ["phases", "confidence", "restored", "occupancy", "depth"])
def test_maps_are_calibrated_for_digital_micrograph(record: AnalysisRecord, tmp_path: Path, name: str) -> None:
    """Its tags, as RosettaSciIO knows them from files of Digital Micrograph."""
    write_analysis(record, tmp_path / "a")
    # What ImageJ reads is made unreadable, so that only the other tags are left.
    content = (tmp_path / "a" / f"{name}.tif").read_bytes()
    assert content.count(b"ImageJ=") == 1
    (tmp_path / "dm.tif").write_bytes(content.replace(b"ImageJ=", b"Nobody="))
    (told,) = file_reader(tmp_path / "dm.tif")
    assert [(axis["scale"], axis["units"], axis["offset"]) for axis in told["axes"]] == [
        (0.02, "nm", 0.0),
        (0.021, "nm", 0.0),
    ]


def test_summary_has_the_keys_that_programs_read(record: AnalysisRecord) -> None:
    summary = summarize(record)
    assert list(summary) == KEYS
    assert summary["schema"] == "atomseg.summary/1"
    assert summary["input"]["sha256"] == "ab" * 32
    assert (summary["input"]["shape"], summary["input"]["frame"]) == ([48, 60], "single")
    assert summary["calibration"] == {"pixel_size_nm": [0.02, 0.021], "origin": "user"}
    assert summary["columns"] == {
        "n": 4,
        "median_sigma_pm": pytest.approx(np.nanmedian(record.localized.sigma_nm) * 1e3, abs=1e-3),
    }
    assert summary["phase_fractions"] == pytest.approx(record.phases.fractions())
    assert sum(summary["phase_fractions"].values()) == pytest.approx(1)
    thickness = summary["thickness"]
    assert (thickness["mean_nm"], thickness["class"], thickness["censored"]) == (4.2, "thin", False)
    assert thickness["surfaces"] == [{"surface_id": 0, **{k: v for k, v in thickness.items() if k != "surfaces"}}]
    assert summary["faults"] == {"n": 1, "total_length_nm": 2.5, "nearest_surface_nm": 2.5}
    assert summary["checks"][1] == {"name": "contrast", "value": None, "verdict": "warn", "message": "low contrast"}
    assert summary["provenance"]["model_sha256"] == "cd" * 32
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert summarize(without_surface(record))["thickness"] is None


def test_numbers_that_are_not_finite_are_null(record: AnalysisRecord) -> None:
    worse = dataclasses.replace(record.thickness.summary, mean_nm=float("nan"), upper_nm=float("inf"))
    changed = dataclasses.replace(record, thickness=dataclasses.replace(record.thickness, summary=worse))
    thickness = summarize(changed)["thickness"]
    assert (thickness["mean_nm"], thickness["upper_nm"]) == (None, None)


def assert_same(got: AnalysisRecord, want: AnalysisRecord) -> None:
    table, wanted = got.localized.table, want.localized.table
    assert np.abs(got.localized.yx_px - want.localized.yx_px).max() <= 0.5e-4 + 1e-12  # four decimals
    assert table["flags"].tolist() == wanted["flags"].tolist()
    for name in wanted.columns:
        # Tables keep at least five decimals or six significant digits of everything in this record.
        assert table[name].to_numpy(float) == pytest.approx(
            wanted[name].to_numpy(float), rel=1e-5, abs=1e-3, nan_ok=True
        )
    for name in want.phases.columns.columns:
        got_values, values = got.phases.columns[name].to_numpy(float), want.phases.columns[name].to_numpy(float)
        assert got_values == pytest.approx(values, abs=1e-5, nan_ok=True)
    for ours, theirs in ((got.phases.gaps, want.phases.gaps), (got.thickness.points, want.thickness.points)):
        assert list(ours.columns) == list(theirs.columns)
        assert [kind.kind for kind in ours.dtypes] == [kind.kind for kind in theirs.dtypes]
    assert got.thickness.points["reason"].tolist() == want.thickness.points["reason"].tolist()
    for name in ("labels", "confidence", "occupancy"):
        ours, theirs = getattr(got.phases, name), getattr(want.phases, name)
        assert ours.dtype == theirs.dtype
        assert np.array_equal(ours, theirs, equal_nan=name == "occupancy")
    assert np.array_equal(got.thickness.depth_nm, want.thickness.depth_nm, equal_nan=True)
    assert np.array_equal(got.restored, want.restored)
    for name in ("checks", "provenance"):
        assert getattr(got, name) == getattr(want, name)
    assert (got.phases.frames, got.phases.checks) == (want.phases.frames, want.phases.checks)
    assert (got.thickness.summary, got.thickness.surfaces) == (want.thickness.summary, want.thickness.surfaces)
    assert got.thickness.warnings == want.thickness.warnings


@pytest.fixture
def from_file(record: AnalysisRecord, counts: np.ndarray, tmp_path: Path) -> AnalysisRecord:
    """The record of an input that lies in a file."""
    tifffile.imwrite(tmp_path / "input.tif", np.stack([counts, counts // 2]), imagej=True, metadata={"axes": "TYX"})
    micrograph = read_micrograph(tmp_path / "input.tif", pixel_size_nm=(0.02, 0.021), frame="1")
    settings = {"infer": {"tile": 512, "pair": [1, 2]}}  # JSON knows no tuples
    return dataclasses.replace(
        record, micrograph=micrograph, provenance=dataclasses.replace(record.provenance, config=settings)
    )


def assert_same_micrograph(got: Micrograph, want: Micrograph) -> None:
    for field in dataclasses.fields(Micrograph):
        ours, theirs = getattr(got, field.name), getattr(want, field.name)
        assert np.array_equal(ours, theirs) if field.name == "image" else ours == theirs


def test_round_trip_with_the_input_in_place(from_file: AnalysisRecord, tmp_path: Path) -> None:
    write_analysis(from_file, tmp_path / "out")
    got = read_analysis(tmp_path / "out")
    assert_same(got, from_file)
    assert_same_micrograph(got.micrograph, from_file.micrograph)
    assert got.warnings == from_file.warnings


def test_a_result_that_is_written_again_is_the_same(from_file: AnalysisRecord, tmp_path: Path) -> None:
    write_analysis(from_file, tmp_path / "one")
    write_analysis(read_analysis(tmp_path / "one"), tmp_path / "two")
    for name in entries(tmp_path / "one"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


def test_round_trip_without_surface_or_columns(from_file: AnalysisRecord, tmp_path: Path) -> None:
    bare = without_surface(from_file)
    empty = dataclasses.replace(
        bare,
        localized=dataclasses.replace(bare.localized, table=bare.localized.table.iloc[:0]),
        phases=dataclasses.replace(
            bare.phases, columns=bare.phases.columns.iloc[:0], gaps=bare.phases.gaps.iloc[:0], frames=()
        ),
    )
    write_analysis(empty, tmp_path / "out")
    got = read_analysis(tmp_path / "out")
    assert (len(got.localized), len(got.phases.gaps), len(got.thickness.points)) == (0, 0, 0)
    assert (got.thickness.summary, got.thickness.surfaces, got.phases.frames) == (None, {}, ())


@pytest.mark.parametrize("fate", ["gone", "changed"])
def test_the_restored_image_stands_in_for_a_lost_input(from_file: AnalysisRecord, tmp_path: Path, fate: str) -> None:
    write_analysis(from_file, tmp_path / "out")
    source = tmp_path / "input.tif"
    if fate == "gone":
        source.unlink()
    else:
        tifffile.imwrite(source, np.stack([from_file.micrograph.image] * 2))
    got = read_analysis(tmp_path / "out")
    assert np.array_equal(got.micrograph.image, from_file.restored)
    assert got.micrograph.calibration.origin is CalibrationOrigin.USER
    assert any("restored image stands in" in text for text in got.warnings)


def test_an_array_as_input_is_not_kept(record: AnalysisRecord, tmp_path: Path) -> None:
    write_analysis(record, tmp_path / "out")
    got = read_analysis(tmp_path / "out")
    assert got.micrograph.name == "particle"
    assert any("was an array" in text for text in got.warnings)


def test_matching_decides_what_is_mapped_again(record: AnalysisRecord, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    same = {"sha256": "ab" * 32, "config": record.provenance.config, "model_sha256": "cd" * 32}
    assert not result_matches(folder, **same)
    write_analysis(record, folder)
    assert result_matches(folder, **same)
    assert not result_matches(folder, **{**same, "sha256": "00" * 32})
    assert not result_matches(folder, **{**same, "model_sha256": "00" * 32})
    assert not result_matches(folder, **{**same, "config": {"infer": {"tile": 256, "pair": (1, 2)}}})
    (folder / "phases.tif").unlink()
    assert not result_matches(folder, **same)


def test_damaged_results_are_refused(record: AnalysisRecord, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with pytest.raises(OutputError, match=r"holds no result: summary\.json is missing"):
        read_analysis(folder)
    write_analysis(record, folder)
    text = (folder / "summary.json").read_text()
    for damaged, reason in (
        (text[:100], "can not be read back"),
        ("[]", "schema None"),
        (text.replace("summary/1", "summary/99"), "schema 'atomseg.summary/99'; this version reads"),
        (text.replace('"stored"', '"sorted"'), "damaged"),
        (text.replace('"verdict": "warn"', '"verdict": "maybe"'), "damaged"),
    ):
        (folder / "summary.json").write_text(damaged)
        with pytest.raises(OutputError, match=reason):
            read_analysis(folder)
    (folder / "summary.json").write_text(text)
    columns = (folder / "columns.csv").read_text()
    for damaged, reason in (
        (columns.replace(",rocksalt,", ",rock,"), "phase 'rock'"),
        (columns.replace("border|overlap", "border|dancing"), "flags 'border|dancing'"),
        (columns.replace("depth_nm", "deep"), "lacks the columns depth_nm"),
    ):
        (folder / "columns.csv").write_text(damaged)
        with pytest.raises(OutputError, match=reason.replace("|", r"\|")):
            read_analysis(folder)
    (folder / "columns.csv").write_text(columns)
    data = (folder / "restored.tif").read_bytes()
    (folder / "restored.tif").write_bytes(data[:2000])
    with pytest.raises(OutputError, match=r"restored\.tif"):
        read_analysis(folder)
    (folder / "restored.tif").unlink()
    with pytest.raises(OutputError, match=r"not a complete result: restored\.tif missing"):
        read_analysis(folder)


def test_nothing_is_replaced_without_being_asked(record: AnalysisRecord, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    write_analysis(record, folder, figures={"old.png": b"x"})
    with pytest.raises(OutputError, match=r"give --overwrite \(overwrite=True in Python\)"):
        write_analysis(record, folder)
    write_analysis(record, folder, overwrite=True)
    assert "old.png" not in entries(folder)
    assert entries(tmp_path) == ["out"]
    theirs = tmp_path / "thesis"
    theirs.mkdir()
    (theirs / "chapter.tex").write_text("years of work")
    with pytest.raises(OutputError, match="holds files that atomseg did not write"):
        write_analysis(record, theirs, overwrite=True)
    assert (theirs / "chapter.tex").read_text() == "years of work"
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is a file"):
        write_analysis(record, tmp_path / "file")
    with pytest.raises(OutputError, match="can not be"):
        write_analysis(record, tmp_path / "file" / "below")
    (tmp_path / "empty").mkdir()
    write_analysis(record, tmp_path / "empty")
    assert is_result_folder(tmp_path / "empty")


@pytest.mark.parametrize("name", ["../escape.png", "summary.json", "phases.tif", "a/b.png"])
def test_figures_can_not_take_the_place_of_results(record: AnalysisRecord, tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match="a figure can not be named"):
        write_analysis(record, tmp_path / "out", figures={name: b""})
    assert entries(tmp_path) == []


@pytest.mark.parametrize("existing", [False, True])
@pytest.mark.parametrize("stage", ["map", "table", "text", "fsync", "rename"])
@pytest.mark.parametrize(
    ("error", "text"),
    [(OSError(errno.ENOSPC, "No space left on device"), "the disk is full"), (KeyboardInterrupt(), None)],
)
def test_whatever_goes_wrong_leaves_no_half_result(
    record: AnalysisRecord,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
    error: BaseException,
    text: str | None,
    existing: bool,
) -> None:
    folder = tmp_path / "out"
    if existing:
        write_analysis(record, folder)
        before = {name: (folder / name).read_bytes() for name in entries(folder)}
    real_rename = Path.rename

    def fail(*args: object, **options: object) -> None:
        raise error

    def fail_on_partial(self: Path, target: Path) -> Path:
        if self.name.endswith(".partial"):
            raise error
        return real_rename(self, target)

    with monkeypatch.context() as patch:
        if stage == "map":
            patch.setattr(tifffile, "imwrite", fail)
        elif stage == "table":
            patch.setattr(pd.DataFrame, "to_csv", fail)
        elif stage == "text":
            patch.setattr(Path, "write_text", fail)
        elif stage == "fsync":
            patch.setattr("os.fsync", fail)
        else:
            patch.setattr(Path, "rename", fail_on_partial)
        with pytest.raises(OutputError if text else KeyboardInterrupt, match=text):
            write_analysis(dataclasses.replace(record, warnings=()), folder, overwrite=existing)
    assert entries(tmp_path) == (["out"] if existing else [])
    if existing:
        assert {name: (folder / name).read_bytes() for name in entries(folder)} == before


def test_the_record_is_not_changed(record: AnalysisRecord, tmp_path: Path) -> None:
    before = record.phases.gaps.copy(), record.phases.columns.copy(), record.localized.table.copy()
    write_analysis(record, tmp_path / "out")
    for got, want in zip((record.phases.gaps, record.phases.columns, record.localized.table), before, strict=True):
        pd.testing.assert_frame_equal(got, want)

"""summary.csv tells what is in the output folder, whoever wrote it and whenever they were killed."""

import csv
import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from atomseg.batch import CohortTable, Outcome, read_summary_table
from atomseg.batch.table import outcome_row
from atomseg.errors import OutputError


def _status(output: Path) -> dict[str, str]:
    return {row["folder"]: row["status"] for row in read_summary_table(output / "summary.csv")}


@pytest.fixture
def results(fill: Callable[[Path, int, int], Path], map_here: Callable[[Path, Path], None], tmp_path: Path) -> Path:
    """An output folder with two results and a refused file."""
    map_here(fill(tmp_path / "in", 3, 1), tmp_path / "out")
    return tmp_path / "out"


def test_a_lost_table_is_made_again_from_the_results(results: Path) -> None:
    before = read_summary_table(results / "summary.csv")
    (results / "summary.csv").unlink()
    CohortTable(results).begin()
    # What could not be mapped left no result to tell of it.
    assert read_summary_table(results / "summary.csv") == [row for row in before if row["status"] == "done"]


def test_a_row_that_a_killed_run_owed_is_added_and_one_without_result_dropped(results: Path) -> None:
    rows = read_summary_table(results / "summary.csv")
    assert [row["status"] for row in rows] == ["done", "refused", "done"]
    with (results / "summary.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0].keys())
        writer.writeheader()
        writer.writerows([rows[1], rows[2], {**rows[2], "folder": "gone", "file": "/in/gone.tif"}])
    (results / ".summary.csv.0123").write_text("of a killed run")
    CohortTable(results).begin()
    assert read_summary_table(results / "summary.csv") == rows
    assert not [path for path in results.iterdir() if path.name.startswith(".")]


def test_a_failure_older_than_the_result_is_forgotten(results: Path) -> None:
    table = CohortTable(results)
    table.tell([Outcome("/in/000.tif", "000", "failed", "disk full")])
    CohortTable(results).begin()
    assert _status(results)["000"] == "failed"  # told after the result came: an attempt to replace it
    late = (results / "summary.csv").stat().st_mtime_ns + 10**9
    os.utime(results / "000" / "summary.json", ns=(late, late))
    CohortTable(results).begin()
    assert _status(results)["000"] == "done"


def test_two_runs_keep_the_rows_of_each_other(results: Path) -> None:
    one, two = CohortTable(results), CohortTable(results)
    one.tell([Outcome("/a.tif", "a", "refused", "empty")])
    two.tell([Outcome("/b.tif", "b", "refused", "empty")])
    one.tell([Outcome("/c.tif", "c", "refused", "empty")])
    one.end()
    two.end()
    assert set(_status(results)) == {"000", "000_bad", "001", "a", "b", "c"}


def test_rows_wait_while_the_disk_is_full(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, *_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    before = (results / "summary.csv").read_bytes()
    table = CohortTable(results)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        table.tell([Outcome("/a.tif", "a", "refused", "empty")])
        with pytest.raises(OutputError, match=r"summary\.csv can not be written: No space left"):
            table.end()
    assert (results / "summary.csv").read_bytes() == before
    table.tell([Outcome("/b.tif", "b", "refused", "empty")])
    assert {"a", "b"} < set(_status(results))
    assert not [path for path in results.iterdir() if path.name.startswith(".")]


def test_a_page_that_takes_long_is_written_less_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, written = [0.0], []

    def slow(rows: list[object], _output: Path) -> str:
        clock[0] += 2.0 * len(rows)
        written.append(clock[0])
        return ""

    monkeypatch.setattr("atomseg.batch.table.cohort_html", slow)
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    table = CohortTable(tmp_path)
    for second in range(130):
        clock[0] = max(clock[0], second)
        table.tell([Outcome("/a.tif", "a", "refused", "empty")])
    # Each takes 2 s, a twentieth of the time: the next one 40 s after its end, not 10.
    assert written == [2.0, 44.0, 86.0, 128.0]
    table.tell([Outcome("/b.tif", "b", "refused", "empty")])
    assert len(written) == 4
    table.end()
    assert len(written) == 5  # the last one in any case


def test_another_output_folder_inside_is_left_alone(results: Path, tmp_path: Path) -> None:
    results.rename(tmp_path / "outer")
    (tmp_path / "more").mkdir()
    (tmp_path / "outer").rename(tmp_path / "more" / "inner")
    CohortTable(tmp_path / "more").begin()
    assert not (tmp_path / "more" / "summary.csv").exists()


def _face(key: int, mean: float | None, kind: str | None, bound: float | None = None) -> dict[str, object]:
    entry = dict.fromkeys(("mean_nm", "median_nm", "p05_nm", "p95_nm", "lower_nm", "upper_nm", "lower_bound_nm"))
    return entry | {"surface_id": key, "mean_nm": mean, "lower_bound_nm": bound, "censored": mean is None,
                    "censored_fraction": 0.0, "class": kind, "class_probability": {}, "n_points": 9}  # fmt: skip


def _summary(*faces: dict[str, object]) -> dict[str, object]:
    pooled = {**_face(0, 16.7, "intermediate"), "surfaces": list(faces)}
    return {
        "calibration": {"pixel_size_nm": [0.02, 0.02], "origin": "user"},
        "columns": {"n": 9, "median_sigma_pm": 5.0},
        "phase_fractions": {},
        "thickness": pooled,
        "faults": {"n": None},
        "provenance": {"seconds": 1.0},
    }


@pytest.mark.parametrize(
    ("faces", "told"),
    [
        ((_face(0, 6.0, "intermediate"), _face(1, 21.7, "thick")),
         (True, 21.7, False, "thick", "surface 1: 21.7 nm (thick), surface 0: 6.0 nm (intermediate)")),
        ((_face(0, 6.0, "intermediate"), _face(1, None, None, 14.0)),
         (True, 14.0, True, None, "surface 1: at least 14.0 nm (class not decided), surface 0: 6.0 nm (intermediate)")),
        ((_face(0, 16.7, "intermediate"),), (False, 16.7, False, "intermediate", "surface 0: 16.7 nm (intermediate)")),
    ],
)  # fmt: skip
def test_a_thick_surface_is_not_lost_beside_a_thin_one(faces: tuple[dict[str, object], ...], told: tuple) -> None:
    row = outcome_row(Outcome("/a.tif", "a", "done", "", _summary(*faces)))
    names = (
        "surfaces_differ",
        "thickest_surface_nm",
        "thickest_surface_censored",
        "thickest_surface_class",
        "surfaces",
    )
    assert tuple(row[name] for name in names) == told
    assert (row["class"], row["thickness_mean_nm"]) == ("intermediate", 16.7)  # of all together, as before
    assert row["n_faults"] is None

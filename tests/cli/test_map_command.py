"""`atomseg map`: what is written where, what is skipped, what the exit code says."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import tifffile
from typer.testing import Result

from atomseg.batch import Outcome
from atomseg.cli.map import outcome_line

Invoke = Callable[..., Result]
Write = Callable[..., Path]

RESULT_FILES = {
    "columns.csv", "phases.tif", "confidence.tif", "restored.tif", "thickness.csv", "faults.csv", "summary.json",
    "overview.png", "overview.pdf",
}  # fmt: skip


def _table(output: Path) -> pd.DataFrame:
    return pd.read_csv(output / "summary.csv", keep_default_na=False).set_index("folder")


def test_one_file_gives_every_promised_file(invoke: Invoke, write_tif: Write, tmp_path: Path) -> None:
    done = invoke("map", write_tif(tmp_path / "in" / "grain.tif"), "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert {file.name for file in (tmp_path / "out" / "grain").iterdir()} >= RESULT_FILES
    assert {entry.name for entry in (tmp_path / "out").iterdir()} == {
        "grain", "summary.csv", "report.html", "assets",
    }  # fmt: skip
    assert _table(tmp_path / "out").loc["grain", "status"] == "done"
    assert "grain/page.html" in (tmp_path / "out" / "report.html").read_text()


def test_results_mirror_the_input_tree(invoke: Invoke, write_tif: Write, tmp_path: Path) -> None:
    for seed, name in enumerate(("a/x.tif", "a/y.tif", "b/x.tif")):
        write_tif(tmp_path / "in" / name, seed=seed)
    (tmp_path / "in" / "notes.txt").write_text("not a micrograph")
    done = invoke("map", tmp_path / "in", "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert list(_table(tmp_path / "out").index) == ["a/x", "a/y", "b/x"]
    assert (tmp_path / "out" / "b" / "x" / "summary.json").is_file()


def test_a_manifest_compares_the_groups_when_the_maps_are_done(
    invoke: Invoke, write_tif: Write, tmp_path: Path
) -> None:
    for seed, name in enumerate(("x.tif", "y.tif")):
        write_tif(tmp_path / "in" / name, seed=seed)
    manifest = tmp_path / "samples.csv"
    manifest.write_text("file,sample,particle\nx.tif,SC,1\ny.tif,QSC,1\n")
    done = invoke("map", tmp_path / "in", "-o", tmp_path / "out", "--manifest", manifest)
    assert "descriptive only" in done.output or "nothing to compare" in done.output, done.output
    # A manifest that can not be used is told before anything is mapped.
    manifest.write_text("sample,particle\nSC,1\n")
    refused = invoke("map", tmp_path / "in", "-o", tmp_path / "other", "--manifest", manifest)
    assert refused.exit_code == 2
    assert not (tmp_path / "other").exists()


def test_a_finished_file_is_skipped_and_its_row_stays(invoke: Invoke, write_tif: Write, tmp_path: Path) -> None:
    image = write_tif(tmp_path / "x.tif")
    invoke("map", image, "-o", tmp_path / "out")
    before = (tmp_path / "out" / "x" / "summary.json").stat().st_mtime_ns
    again = invoke("map", image, "-o", tmp_path / "out")
    assert again.exit_code == 0
    assert "1 skipped" in again.output
    assert (tmp_path / "out" / "x" / "summary.json").stat().st_mtime_ns == before
    row = _table(tmp_path / "out").loc["x"]
    assert row["status"] == "done"  # the table tells what there is, not what this run had to do for it
    assert row["pixel_size_origin"] == "metadata"  # a skipped row carries the numbers of the result


@pytest.mark.parametrize("change", ["input", "settings", "pixel size"])
def test_another_result_is_never_replaced_unasked(
    invoke: Invoke, write_tif: Write, tmp_path: Path, change: str
) -> None:
    image, output = write_tif(tmp_path / "x.tif"), tmp_path / "out"
    invoke("map", image, "-o", output)
    before = (output / "x" / "summary.json").read_bytes()
    more: list[object] = []
    if change == "input":
        write_tif(image, seed=9)
    elif change == "settings":
        more = ["--set", "measure.closing_nm=1"]
    else:
        more = ["--pixel-size-nm", "0.021"]
    refused = invoke("map", image, "-o", output, *more)
    assert refused.exit_code == 1
    assert "--overwrite" in refused.output
    assert (output / "x" / "summary.json").read_bytes() == before
    assert invoke("map", image, "-o", output, *more, "--overwrite").exit_code == 0
    assert (output / "x" / "summary.json").read_bytes() != before


def test_one_bad_file_does_not_stop_the_rest(invoke: Invoke, write_tif: Write, tmp_path: Path) -> None:
    good = write_tif(tmp_path / "b.tif")
    bad = tmp_path / "a.tif"
    bad.write_bytes(b"")
    done = invoke("map", bad, good, tmp_path / "gone.dm4", "-o", tmp_path / "out")
    assert done.exit_code == 1
    table = _table(tmp_path / "out")
    assert dict(table["status"]) == {"a": "refused", "b": "done", "gone": "refused"}
    assert "empty" in table.loc["a", "reason"]
    assert table.loc["b", "n_columns"] == "0"  # a whole number stays one beside rows that have none
    assert not (tmp_path / "out" / "a").exists()
    assert "1 done" in done.output
    assert "2 refused" in done.output


def test_rows_of_earlier_runs_are_kept(invoke: Invoke, write_tif: Write, tmp_path: Path) -> None:
    for seed, name in enumerate("ab"):
        write_tif(tmp_path / f"{name}.tif", seed=seed)
        invoke("map", tmp_path / f"{name}.tif", "-o", tmp_path / "out")
    assert set(_table(tmp_path / "out").index) == {"a", "b"}


def test_each_frame_of_a_stack(invoke: Invoke, write_tif: Write, tmp_path: Path) -> None:
    stack = write_tif(tmp_path / "s.tif", shape=(3, 64, 64))
    done = invoke("map", stack, "-o", tmp_path / "out", "--frame", "all")
    assert done.exit_code == 0, done.output
    assert list(_table(tmp_path / "out").index) == ["s_frame000", "s_frame001", "s_frame002"]
    summary = json.loads((tmp_path / "out" / "s_frame002" / "summary.json").read_text())
    assert summary["input"]["frame"] == "2"
    again = invoke("map", stack, "-o", tmp_path / "out", "--frame", "all")
    assert "3 skipped" in again.output


def test_one_frame_that_fails_does_not_stop_the_others(invoke: Invoke, write_tif: Write, tmp_path: Path) -> None:
    stack = write_tif(tmp_path / "s.tif", shape=(3, 64, 64))
    (tmp_path / "out" / "s_frame001").mkdir(parents=True)
    (tmp_path / "out" / "s_frame001" / "notes.txt").write_text("mine")
    assert invoke("map", stack, "-o", tmp_path / "out", "--frame", "all").exit_code == 1
    status = dict(_table(tmp_path / "out")["status"])
    assert status == {"s_frame000": "done", "s_frame001": "failed", "s_frame002": "done"}


def test_one_frame_of_a_stack(invoke: Invoke, write_tif: Write, tmp_path: Path) -> None:
    stack = write_tif(tmp_path / "s.tif", shape=(3, 64, 64))
    assert invoke("map", stack, "-o", tmp_path / "out", "--frame", "1").exit_code == 0
    assert json.loads((tmp_path / "out" / "s" / "summary.json").read_text())["input"]["frame"] == "1"
    assert invoke("map", stack, "-o", tmp_path / "other", "--frame", "7").exit_code == 1


def test_two_workers_give_what_one_gives(invoke: Invoke, write_tif: Write, tmp_path: Path) -> None:
    for seed in range(2):
        write_tif(tmp_path / "in" / f"{seed}.tif", seed=seed)
    (tmp_path / "in" / "bad.tif").write_bytes(b"II*\x00")
    one = invoke("map", tmp_path / "in", "-o", tmp_path / "one")
    two = invoke("map", tmp_path / "in", "-o", tmp_path / "two", "--workers", "2")
    assert (one.exit_code, two.exit_code) == (1, 1)
    columns = ["file", "status", "reason", "n_columns"]
    pd.testing.assert_frame_equal(_table(tmp_path / "one")[columns], _table(tmp_path / "two")[columns])


def test_truth_beside_a_simulated_image_is_not_mapped(invoke: Invoke, write_tif: Write, tmp_path: Path) -> None:
    write_tif(tmp_path / "scenes" / "s0" / "image.tif")
    write_tif(tmp_path / "scenes" / "s0" / "truth_phases.tif")
    (tmp_path / "scenes" / "s0" / "truth.json").write_text("{}")
    assert invoke("map", tmp_path / "scenes", "-o", tmp_path / "out").exit_code == 0
    assert list(_table(tmp_path / "out").index) == ["s0/image"]


def test_results_inside_the_input_folder_are_not_inputs(invoke: Invoke, write_tif: Write, tmp_path: Path) -> None:
    write_tif(tmp_path / "x.tif")
    for _ in range(2):
        assert invoke("map", tmp_path, "-o", tmp_path / "results").exit_code == 0
    # Into another output folder the earlier results are not inputs either.
    assert invoke("map", tmp_path, "-o", tmp_path / "more").exit_code == 0
    assert list(_table(tmp_path / "more").index) == ["x"]


def test_pictures_by_name_are_calibrated_and_asked_for_again(invoke: Invoke, write_tif: Write, tmp_path: Path) -> None:
    image, output = write_tif(tmp_path / "x.tif"), tmp_path / "out"
    names = ["circular_mask", "gaussian_mask", "denoised", "denoised_without_background", "super_resolved"]
    done = invoke("map", image, "-o", output, "--save", ",".join(names))
    assert done.exit_code == 0, done.output
    for name in names:
        with tifffile.TiffFile(output / "x" / f"{name}.tif") as file:
            assert file.asarray().shape == (64, 72)
            assert file.asarray().dtype == "float32"
            count, length = file.pages[0].tags["XResolution"].value
            assert length / count == pytest.approx(0.02, rel=1e-4)
            assert file.imagej_metadata["unit"] == "nm"
    assert invoke("map", image, "-o", output, "--save", "denoised").exit_code == 0  # they are there
    (output / "x" / "denoised.tif").unlink()
    again = invoke("map", image, "-o", output, "--save", "denoised")
    assert again.exit_code == 1
    assert "without denoised; give --overwrite" in " ".join(again.output.split())


def test_an_unknown_picture_is_bad_usage(invoke: Invoke, write_tif: Write, tmp_path: Path) -> None:
    refused = invoke("map", write_tif(tmp_path / "x.tif"), "-o", tmp_path / "out", "--save", "denoise")
    assert refused.exit_code == 2
    assert "denoised_without_background" in " ".join(refused.output.split())
    assert not (tmp_path / "out").exists()


def test_surfaces_that_differ_are_told_one_by_one() -> None:
    def face(key: int, mean: float, kind: str) -> dict[str, object]:
        return {"surface_id": key, "median_nm": mean, "p05_nm": mean, "p95_nm": mean, "lower_nm": mean,
                "upper_nm": mean, "mean_nm": mean, "lower_bound_nm": None, "censored": False, "censored_fraction": 0.0,
                "class": kind, "class_probability": {}, "n_points": 9}  # fmt: skip

    def told(*faces: dict[str, object]) -> str:
        thickness = face(0, 16.7, "intermediate") | {"surfaces": list(faces)}
        summary = {"columns": {"n": 9}, "phase_fractions": {"rocksalt": 1.0}, "thickness": thickness}
        return outcome_line(Outcome("/a.tif", "a", "done", "", summary))

    assert told(face(0, 6.0, "intermediate"), face(1, 21.7, "thick")) == (
        "done  a: 9 columns, rocksalt 100%, the surfaces differ: surface 1: 21.7 nm (thick), "
        "surface 0: 6.0 nm (intermediate)"
    )
    assert told(face(0, 16.7, "intermediate")).endswith("thickness 16.7 nm (intermediate)")

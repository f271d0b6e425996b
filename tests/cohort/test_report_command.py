"""`atomseg report` from the outside, on result folders made by hand."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from atomseg.cli import app
from atomseg.errors import OutputError
from atomseg.io import find_results, read_measured

Write = Callable[..., Path]
FILES = (
    "cohort.csv", "cohort.json", "cohort_differences.csv", "cohort_figure.pdf", "cohort_figure.png",
    "cohort_figure.svg", "report.html", "summary.csv",
)  # fmt: skip


def report(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["report", *(str(argument) for argument in arguments)])


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def output(tmp_path: Path, write_result: Write) -> Path:
    """Two samples with three particles each, two micrographs a particle; PC is thicker and partly out of view."""
    out = tmp_path / "out"
    for sample, base in (("SC", 3.0), ("PC", 9.0)):
        for k in range(3):
            for j in range(2):
                true = base + 0.5 * k + 0.1 * j + np.linspace(-1, 1, 9)
                write_result(
                    out / sample / f"p{k}" / f"im{j}",
                    true,
                    view_nm=11.2,  # an end counts as seen down to 10.7
                    fault_nm=[2.0] * k,
                    rocksalt=0.1 * base,
                    surface_kind=["outer"] * 9,
                )
    return out


def test_the_folder_tree_is_enough(output: Path) -> None:
    done = report(output)
    assert done.exit_code == 0, done.output
    assert sorted(p.name for p in output.iterdir() if p.is_file()) == sorted(FILES)
    rows = {(r["group"], r["surface_kind"], r["outcome"]): r for r in table(output / "cohort.csv")}
    median = rows["SC", "outer", "median"]
    # 3 particles of 18 points each, symmetric about 3.05, 3.55 and 4.05 nm.
    assert float(median["estimate"]) == pytest.approx(3.55, abs=0.26)  # points are 0.25 nm apart
    assert (median["particles"], median["images"], median["points"]) == ("3", "6", "54")
    assert float(rows["SC", "outer", "rocksalt"]["estimate"]) == pytest.approx(0.3)
    # Crystal is 10 nm² of every image; particle k has k faults of 2 nm in each.
    assert float(rows["SC", "outer", "fault_density"]["estimate"]) == pytest.approx(0.2)
    assert 0 < float(rows["PC", "outer", "median"]["right_censored"]) < 0.5
    gap = next(r for r in table(output / "cohort_differences.csv") if r["outcome"] == "rocksalt")
    # Three against three particles that do not overlap: 2 of 20 rearrangements.
    assert float(gap["p_value"]) == pytest.approx(0.1)
    assert gap["test"] == "exact permutation"
    for words in ("PC", "SC", "particles", "exact permutation", "90 % intervals"):
        assert words in done.output


def test_said_again_it_gives_the_same_bytes(output: Path) -> None:
    report(output)
    before = {name: (output / name).read_bytes() for name in FILES}
    assert report(output).exit_code == 0
    assert {name: (output / name).read_bytes() for name in FILES} == before


def test_a_manifest_makes_the_groups(output: Path, tmp_path: Path) -> None:
    lines = ["file,sample,particle,surface,cycle"]
    lines += [f"{s}/p{k}/im{j}.tif,{s},{k},outer,100" for s in ("SC", "PC") for k in range(3) for j in range(2)]
    (tmp_path / "samples.csv").write_text("\n".join(lines), encoding="utf-8")
    done = report(output, "--manifest", tmp_path / "samples.csv")
    assert done.exit_code == 0, done.output
    told = json.loads((output / "cohort.json").read_text(encoding="utf-8"))
    assert [g["group"] for g in told["groups"]] == ["PC / 100", "SC / 100"]
    done = report(output, "--manifest", tmp_path / "samples.csv", "--group-by", "cycle", "--test", "restricted_mean")
    assert done.exit_code == 0, done.output
    told = json.loads((output / "cohort.json").read_text(encoding="utf-8"))
    assert [(g["group"], len(g["particles"])) for g in told["groups"]] == [("100", 6)]
    assert any("particles of 2 samples" in note for note in told["notes"])


def test_rows_and_results_that_do_not_match_are_listed(output: Path, tmp_path: Path) -> None:
    lines = ["file,sample,particle", *(f"SC/p{k}/im0,SC,{k}" for k in range(3)), "lost.dm4,SC,9"]
    (tmp_path / "samples.csv").write_text("\n".join(lines), encoding="utf-8")
    done = report(output, "--manifest", tmp_path / "samples.csv")
    assert done.exit_code == 1
    assert "missing: no result for lost.dm4" in done.output
    assert "left out: the manifest has no row for PC/p0/im0" in done.output
    assert (output / "cohort.csv").exists()
    told = json.loads((output / "cohort.json").read_text(encoding="utf-8"))
    assert told["rows_without_result"] == ["lost.dm4"]
    assert len(told["results_without_row"]) == 9


def test_bad_usage(output: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "latin.csv").write_bytes("file,sample\nä,S\n".encode("latin-1"))
    (tmp_path / "some.csv").write_text("file,sample\nSC/p0/im0,S\n", encoding="utf-8")
    for arguments, words in (
        ([tmp_path / "empty"], "holds no result"),
        ([output, "--group-by", "cycle"], "give --manifest too"),
        ([output, "--manifest", tmp_path / "none.csv"], "can not be read"),
        ([output, "--manifest", tmp_path / "latin.csv"], "not text in UTF-8"),
        ([output, "--manifest", tmp_path / "some.csv", "--group-by", "cycle"], "allowed are the columns sample"),
        ([output, "--tau-nm", "0"], "cohort.tau_nm = 0.0 is outside"),
        ([output, "--test", "beauty"], "cohort.tested = 'beauty'"),
    ):
        done = report(*arguments)
        assert done.exit_code == 2, done.output
        assert words in done.output
    assert not list(output.glob("cohort*"))
    assert report(tmp_path / "nowhere").exit_code == 1


def test_a_damaged_result_is_named_and_left_out(output: Path) -> None:
    (output / "SC" / "p1" / "im1" / "thickness.csv").unlink()
    done = report(output)
    assert done.exit_code == 1
    assert "note: left out: " in done.output
    assert "SC/p1/im1/thickness.csv" in done.output.replace("\\", "/")
    rows = {(r["group"], r["outcome"]): r for r in table(output / "cohort.csv")}
    assert (rows["SC", "median"]["images"], rows["PC", "median"]["images"]) == ("5", "6")


def test_unfinished_folders_are_no_results(output: Path, write_result: Write) -> None:
    write_result(output / "SC" / ".atomseg-0.partial", [1.0])
    (output / "SC" / "p9").mkdir()
    assert len(find_results(output)) == 12


def test_measurements_are_read_as_written(tmp_path: Path, write_result: Write) -> None:
    folder = write_result(tmp_path / "S" / "a", [0.0, 4.0, 9.0], event=[1, 1, 0], fault_nm=[1.5, 2.5], stopped=True)
    found = read_measured(folder, tmp_path)
    assert (found.folder, found.path, found.judged) == ("S/a", "/data/a.tif", False)
    assert (found.fault_length_nm, found.crystal_nm2, found.detection_nm) == (4.0, pytest.approx(10.0), 0.5)
    assert list(found.points["event"]) == [1.0, 1.0, 0.0]
    (folder / "phases.tif").unlink()
    assert read_measured(folder, tmp_path).crystal_nm2 is None
    (folder / "summary.json").write_text('{"schema": "atomseg.summary/1"}', encoding="utf-8")
    with pytest.raises(OutputError, match="is damaged"):
        read_measured(folder, tmp_path)


def test_a_micrograph_that_was_not_judged_leaves_the_phases_alone(output: Path, write_result: Write) -> None:
    write_result(output / "SC" / "p0" / "im9", [], rocksalt=1.0, stopped=True)
    assert report(output).exit_code == 0
    rows = {(r["group"], r["outcome"]): r for r in table(output / "cohort.csv")}
    assert float(rows["SC", "rocksalt"]["estimate"]) == pytest.approx(0.3)
    told = json.loads((output / "cohort.json").read_text(encoding="utf-8"))
    assert "1 micrograph was not fit to be judged (1 of SC); phases there are left out" in told["notes"]

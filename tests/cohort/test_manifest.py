"""Rows find their results, whatever way a person writes them, and nothing is guessed."""

import dataclasses
from pathlib import Path

import pandas as pd
import pytest

from atomseg.cohort import assign_by_folder, assign_by_manifest, gather, parse_manifest
from atomseg.errors import UsageError
from atomseg.io import MeasuredResult


def result(folder: str, path: str | None = None, kinds: list[str] | None = None) -> MeasuredResult:
    points = pd.DataFrame(
        {"surface_id": [0.0, 1.0], "thickness_nm": [2.0, 3.0], "upper_nm": [2.2, 3.2], "event": [1.0, 1.0]}
    )
    if kinds:
        points["surface_kind"] = kinds
    return MeasuredResult(
        folder=folder, path=path or f"/data/{folder}.dm4", sha256=folder, judged=True,
        phase_fractions={"layered": 1.0}, points=points, fault_length_nm=0.0, crystal_nm2=100.0, detection_nm=0.5,
    )  # fmt: skip


def manifest(text: str, path: str = "/lab/samples.csv") -> object:
    return parse_manifest(text, Path(path))


RESULTS = [
    result("SC/p1/a"),
    result("SC/p1/b"),
    result("SC/p2/a"),
    result("odd name v1.2", "C:\\em\\odd name v1.2.dm4"),
]


@pytest.mark.parametrize(
    ("file", "folder"),
    [
        ("/data/SC/p1/b.dm4", "SC/p1/b"),
        ("../data/SC/p1/b.dm4", "SC/p1/b"),  # seen from the manifest's folder
        ("b", "SC/p1/b"),
        ("b.dm4", "SC/p1/b"),
        ("p2/a", "SC/p2/a"),
        ("p2\\a.dm4", "SC/p2/a"),
        ("odd name v1.2.dm4", "odd name v1.2"),  # what looks like a suffix and is none
        ("odd name v1.2", "odd name v1.2"),
    ],
)
def test_a_row_finds_its_result(file: str, folder: str) -> None:
    found = assign_by_manifest(RESULTS, manifest(f"file,sample,particle\n{file},S,P\n"))
    assert list(found.labels) == [folder]
    label = found.labels[folder]
    assert (label.group, label.sample, label.particle) == ("S", "S", "P")
    assert found.rows_without_result == ()
    assert set(found.results_without_row) == {r.folder for r in RESULTS} - {folder}


def test_what_does_not_fit_is_told() -> None:
    found = assign_by_manifest(RESULTS, manifest("file,sample\np1/a,S\nnever.dm4,S\n"))
    assert found.rows_without_result == ("never.dm4",)
    assert len(found.results_without_row) == 3


def test_part_of_a_name_is_no_match() -> None:
    assert not assign_by_manifest(RESULTS, manifest("file,sample\n1/a,S\n")).labels


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file,sample\na,S\n", "line 2: a fits 2 results"),
        ("file,sample\nb,S\n/data/SC/p1/b.dm4,T\n", "another sample"),
        ("file,sample\nb,S\nb,S\n", "is there twice"),
        ("sample,particle\nS,P\n", "no column 'file'"),
        ("file,sample,Sample\nb,S,S\n", "'sample' is there twice"),
        ("file,particle\nb,P\n", "no column 'sample'"),
        ("file,sample\nb\n", "line 2: 1 cells"),
        ("file,sample\n,S\n", "the file is empty"),
        ("file,sample\n", "has no rows"),
        ("", "no column 'file'"),
        ("file,sample,surface_id\nb,S,first\n", "surface_id 'first'"),
    ],
)
def test_a_manifest_that_can_not_be_meant_is_refused(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        assign_by_manifest(RESULTS, manifest(text))


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_separators_and_headings_of_spreadsheets(mark: str) -> None:
    text = "\ufeffFile,Sample,Particle,Surface type,Cycle\r\nb,S,P,Crack,100\r\n\r\n".replace(",", mark)
    found = assign_by_manifest(RESULTS, manifest(text))
    label = found.labels["SC/p1/b"]
    assert label.group == "S / 100"  # a column `cycle` takes part in the groups
    assert label.kinds == {-1: "crack"}
    assert found.group_by == ("sample", "cycle")


def test_groups_by_other_columns() -> None:
    table = manifest("file,sample,cycle,voltage\nb,S,1,4.3 V\np2/a,T,1,4.3 V\n")
    found = assign_by_manifest(RESULTS, table, ["Voltage"])
    assert {label.group for label in found.labels.values()} == {"4.3 V"}
    for wrong in (["rate"], ["particle"], []):
        with pytest.raises(UsageError, match="allowed are the columns sample, cycle, voltage"):
            assign_by_manifest(RESULTS, table, wrong)


def test_particles_of_two_samples_in_one_group_stay_two() -> None:
    table = manifest("file,sample,particle,voltage\nb,S,p1,4.3 V\np2/a,T,p1,4.3 V\n")
    points = gather(RESULTS, assign_by_manifest(RESULTS, table, ["voltage"])).points
    assert set(points["particle"]) == {"S: p1", "T: p1"}


def test_frames_of_one_file_share_its_row() -> None:
    first = result("stack/0", "/data/stack.tif")
    frames = [first, dataclasses.replace(first, folder="stack/1")]
    found = assign_by_manifest(frames, manifest("file,sample,particle\nstack.tif,S,P\n"))
    assert set(found.labels) == {"stack/0", "stack/1"}
    assert len(set(gather(frames, found).points["image"])) == 1


def test_the_folder_tree_makes_groups_and_particles() -> None:
    found = assign_by_folder([result("SC/p1/a"), result("SC/p1/deeper/b"), result("PC/a"), result("c")])
    told = {folder: (label.group, label.particle) for folder, label in found.labels.items()}
    assert told == {
        "SC/p1/a": ("SC", "p1"),
        "SC/p1/deeper/b": ("SC", "p1"),
        "PC/a": ("PC", "(unnamed)"),
        "c": ("all", "(unnamed)"),
    }
    assert "2 of 4 micrographs" in found.notes[0]


def test_micrographs_of_unnamed_particles_count_as_one_particle() -> None:
    results = [result(f"SC/{name}") for name in "abcd"]
    observations = gather(results, assign_by_folder(results))
    assert set(observations.points["particle"]) == {"(unnamed)"}
    assert len(set(observations.points["image"])) == 4


def test_kinds_of_surface_come_from_the_table_then_the_manifest_then_nowhere() -> None:
    results = [result("a", kinds=["crack", "unknown"]), result("b"), result("c")]
    table = manifest("file,sample,surface,surface_id\na,S,outer,\nb,S,Crack surface,1\nb,S,,0\nc,S,,\n")
    observations = gather(results, assign_by_manifest(results, table))
    kinds = dict(zip(observations.points["surface"], observations.points["surface_kind"], strict=True))
    assert kinds == {
        "a#0": "crack", "a#1": "outer", "b#0": "unknown", "b#1": "crack", "c#0": "unknown", "c#1": "unknown"
    }  # fmt: skip
    assert list(observations.images["surface_kind"]) == ["mixed", "mixed", "unknown"]
    assert any("1 surface is of another kind" in note for note in observations.notes)


def test_a_copied_file_is_told() -> None:
    results = [result("a"), result("b")]
    same = [results[0], dataclasses.replace(results[1], sha256="a")]
    table = manifest("file,sample,particle\na,S,1\nb,S,2\n")
    assert any("same content" in note for note in gather(same, assign_by_manifest(same, table)).notes)

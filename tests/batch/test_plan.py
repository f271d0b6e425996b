"""Which inputs become jobs, and where their results go."""

import os
import re
import shlex
from pathlib import Path

import pytest

from atomseg.batch import plan_jobs, prepare_output
from atomseg.errors import UsageError


def _touch(folder: Path, *names: str) -> list[Path]:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return [folder / name for name in names]


def _folders(inputs: list[Path | str], output: Path) -> list[str]:
    return [job.folder for job in plan_jobs(inputs, output)]


def test_one_file_alone_is_known_by_its_name(tmp_path: Path) -> None:
    (file,) = _touch(tmp_path, "deep/down/grain.dm4")
    assert _folders([file], tmp_path / "out") == ["grain"]


def test_files_are_mirrored_below_their_common_folder(tmp_path: Path) -> None:
    files = _touch(tmp_path, "day1/a/x.dm4", "day1/b/x.dm4")
    assert _folders(list(files), tmp_path / "out") == ["a/x", "b/x"]


def test_a_folder_is_mirrored_below_itself_even_with_one_file(tmp_path: Path) -> None:
    _touch(tmp_path, "cases/c1/image.tif")
    assert _folders([tmp_path / "cases"], tmp_path / "out") == ["c1/image"]


def test_only_the_last_suffix_is_left_off(tmp_path: Path) -> None:
    (file,) = _touch(tmp_path, "x.ome.tif")
    assert _folders([file], tmp_path / "out") == ["x.ome"]


def test_a_file_named_twice_is_one_job(tmp_path: Path) -> None:
    (file,) = _touch(tmp_path, "in/x.tif")
    assert len(plan_jobs([file, tmp_path / "in", str(tmp_path / "in" / "*.tif")], tmp_path / "out")) == 1


def test_patterns_are_expanded(tmp_path: Path) -> None:
    _touch(tmp_path, "a1.tif", "a2.tif", "b1.tif")
    assert _folders([str(tmp_path / "a*.tif")], tmp_path / "out") == ["a1", "a2"]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path: Path) -> None:
    (file,) = _touch(tmp_path, "x[1].tif")
    assert _folders([str(file)], tmp_path / "out") == ["x[1]"]


def test_hidden_and_foreign_files_of_a_folder_are_left_out(tmp_path: Path) -> None:
    _touch(tmp_path, "x.tif", "._x.tif", "notes.txt", ".cache/y.tif", "z.DM3")
    assert _folders([tmp_path], tmp_path / "out") == ["x", "z"]


def test_an_explicit_file_of_any_suffix_is_tried(tmp_path: Path) -> None:
    (file,) = _touch(tmp_path, "x.raw")
    assert _folders([file], tmp_path / "out") == ["x"]


def test_a_zspy_folder_is_one_micrograph(tmp_path: Path) -> None:
    _touch(tmp_path, "stack.zspy/0.0", "stack.zspy/inner.tif")
    assert _folders([tmp_path], tmp_path / "out") == ["stack"]


def test_a_chosen_signal_has_its_own_folder(tmp_path: Path) -> None:
    (file,) = _touch(tmp_path, "two.hspy")
    assert _folders([f"{file}::0", f"{file}::1"], tmp_path / "out") == ["two_0", "two_1"]


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (("x.tif", "x.dm4"), "share"),
        (("x.tif", "x/y.tif"), "inside"),
        (("summary.csv.tif", "x.tif"), "rename"),
    ],
)
def test_inputs_whose_results_would_meet_are_refused(tmp_path: Path, names: tuple[str, ...], why: str) -> None:
    files = _touch(tmp_path, *names)
    with pytest.raises(UsageError, match=why) as caught:
        plan_jobs(list(files), tmp_path / "out")
    assert any(str(file) in str(caught.value) for file in files)


@pytest.mark.parametrize("place", ["", "grain [2]/"])
def test_an_export_beside_its_raw_file_is_refused_with_the_pattern_that_leaves_it_out(
    tmp_path: Path, place: str
) -> None:
    raw, *_ = _touch(tmp_path, f"day 1/{place}p7.dm4", f"day 1/{place}p7.png", f"day 1/{place}p8.dm4")
    with pytest.raises(UsageError, match="share") as caught:
        plan_jobs([tmp_path / "day 1"], tmp_path / "out")
    told = re.search(r"\(atomseg map (.*) \.\.\.\)", str(caught.value))
    assert told, str(caught.value)
    (pattern,) = shlex.split(told[1])
    assert [job.path for job in plan_jobs([pattern], tmp_path / "out")] == [raw, raw.with_name("p8.dm4")]


def test_two_signals_that_would_share_a_folder_are_no_export_of_each_other(tmp_path: Path) -> None:
    file, other = _touch(tmp_path, "two.hspy", "two_0.hspy")
    with pytest.raises(UsageError, match="share the result folder two_0; rename them"):
        plan_jobs([f"{file}::0", other], tmp_path / "out")


def test_nothing_to_do_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for inputs in ([], [tmp_path / "empty"], [str(tmp_path / "*.dm4")]):
        with pytest.raises(UsageError):
            plan_jobs(inputs, tmp_path / "out")


def test_an_output_that_can_not_be_written_is_refused(tmp_path: Path) -> None:
    (file,) = _touch(tmp_path, "file")
    with pytest.raises(UsageError, match="is a file"):
        prepare_output(file)
    with pytest.raises(UsageError, match="can not be written"):
        prepare_output(file / "below")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root and Windows write everywhere")
def test_an_output_without_permission_is_refused(tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    with pytest.raises(UsageError, match="can not be written"):
        prepare_output(locked)

"""`atomseg simulate`, `evaluate` and `models` from the outside."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

Invoke = Callable[..., Result]

SMALL = """
shape: [96, 112]
p_other: 0.0
p_nothing: 0.0
p_cathode: 1.0
scan: {pixel_size_nm: [0.025, 0.025]}
"""


@pytest.fixture
def scenes(invoke: Invoke, tmp_path: Path) -> Path:
    (tmp_path / "small.yaml").write_text(SMALL)
    done = invoke("simulate", tmp_path / "small.yaml", "-o", tmp_path / "scenes", "-n", "2", "--seed", "4")
    assert done.exit_code == 0, done.output
    return tmp_path / "scenes"


def test_simulated_scenes_are_the_same_whatever_their_number(invoke: Invoke, scenes: Path, tmp_path: Path) -> None:
    assert sorted(folder.name for folder in scenes.iterdir()) == ["scene_0000", "scene_0001"]
    invoke("simulate", tmp_path / "small.yaml", "-o", tmp_path / "one", "-n", "1", "--seed", "4")
    invoke("simulate", tmp_path / "small.yaml", "-o", tmp_path / "other", "-n", "1", "--seed", "5")
    first = (scenes / "scene_0000" / "image.tif").read_bytes()
    assert (tmp_path / "one" / "scene_0000" / "image.tif").read_bytes() == first
    assert (tmp_path / "other" / "scene_0000" / "image.tif").read_bytes() != first
    assert (scenes / "scene_0001" / "image.tif").read_bytes() != first


def test_scenes_are_not_replaced_unasked(invoke: Invoke, scenes: Path, tmp_path: Path) -> None:
    before = (scenes / "scene_0000" / "image.tif").read_bytes()
    again = ("simulate", tmp_path / "small.yaml", "-o", scenes, "--seed", "7")
    assert invoke(*again).exit_code == 2
    assert (scenes / "scene_0000" / "image.tif").read_bytes() == before
    assert invoke(*again, "--overwrite").exit_code == 0
    assert (scenes / "scene_0000" / "image.tif").read_bytes() != before


def _mtimes(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_more_scenes_are_added_to_those_that_are_there(invoke: Invoke, scenes: Path, tmp_path: Path) -> None:
    before = _mtimes(scenes / "scene_0000") | _mtimes(scenes / "scene_0001")
    more = invoke("simulate", tmp_path / "small.yaml", "-o", scenes, "-n", "3", "--seed", "4")
    assert more.exit_code == 0, more.output
    assert "1 scene added to the 2" in more.output
    assert (scenes / "scene_0002" / "truth.json").is_file()
    assert _mtimes(scenes / "scene_0000") | _mtimes(scenes / "scene_0001") == before
    assert "0 scenes added to the 3" in invoke(
        "simulate", tmp_path / "small.yaml", "-o", scenes, "-n", "3", "--seed", "4"
    ).output  # fmt: skip


@pytest.mark.parametrize("difference", ["seed", "settings", "a changed table", "a file of the user's own"])
def test_scenes_are_not_added_to_different_ones(invoke: Invoke, scenes: Path, tmp_path: Path, difference: str) -> None:
    seed, settings = ("5" if difference == "seed" else "4"), tmp_path / "small.yaml"
    if difference == "settings":
        settings.write_text(SMALL.replace("0.025, 0.025", "0.026, 0.026"))
    if difference == "a changed table":
        table = scenes / "scene_0001" / "truth_columns.csv"
        table.write_text(table.read_text().replace("1", "2", 1))
    if difference == "a file of the user's own":
        (scenes / "scene_0001" / "notes.txt").write_text("mine")
    before = _mtimes(scenes)
    refused = invoke("simulate", settings, "-o", scenes, "-n", "3", "--seed", seed)
    assert refused.exit_code == 2
    text = " ".join(refused.output.split())
    assert "--overwrite" in text
    assert "is there and not the scene" in text
    assert _mtimes(scenes) == before


@pytest.mark.parametrize("options", [["-n", "0"], ["--seed", "-1"]])
def test_bad_numbers_are_bad_usage(invoke: Invoke, tmp_path: Path, options: list[str]) -> None:
    (tmp_path / "small.yaml").write_text(SMALL)
    assert invoke("simulate", tmp_path / "small.yaml", "-o", tmp_path / "s", *options).exit_code == 2
    assert not (tmp_path / "s").exists()


SILICON = """data_si
_cell_length_a 5.431
_cell_length_b 5.431
_cell_length_c 5.431
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'F d -3 m'
_symmetry_Int_Tables_number 227
_symmetry_space_group_setting 1
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Si Si 0 0 0
"""


@pytest.fixture
def silicon(tmp_path: Path) -> Path:
    (tmp_path / "Si.cif").write_text(SILICON)
    return tmp_path / "Si.cif"


def test_a_crystal_of_ones_own_is_simulated_with_and_without_a_config(
    invoke: Invoke, silicon: Path, tmp_path: Path
) -> None:
    done = invoke("simulate", "--cif", silicon, "--zone", 1, -1, 0, "-o", tmp_path / "plain")
    assert done.exit_code == 0, done.output
    truth = json.loads((tmp_path / "plain" / "scene_0000" / "truth.json").read_text())
    assert "Si [1 -1 0]" in json.dumps(truth)
    (tmp_path / "small.yaml").write_text(SMALL)
    done = invoke("simulate", tmp_path / "small.yaml", "--cif", silicon, "--zone", 1, 1, 0, "-o", tmp_path / "small")
    assert done.exit_code == 0, done.output
    assert "Si [1 1 0]" in (tmp_path / "small" / "scene_0000" / "truth.json").read_text()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ([], "name a CONFIG"),
        (["--zone", "1", "1", "0"], "go together"),
        (["--cif", "Si.cif"], "go together"),
        (["--cif", "gone.cif", "--zone", "1", "1", "0"], "no structure file"),
        (["--cif", "Si.cif", "--zone", "0", "0", "0"], "no direction"),
        (["--cif", "Si.cif", "--zone", "15", "11", "7"], "too fine to resolve"),
    ],
)
def test_what_can_not_be_simulated_is_said_in_one_line(
    invoke: Invoke, silicon: Path, tmp_path: Path, options: list[str], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(silicon.parent)
    done = invoke("simulate", "-o", tmp_path / "s", *options)
    assert done.exit_code == 2
    assert text in " ".join(done.output.split())
    assert not (tmp_path / "s").exists()


def test_an_unknown_simulation_lists_the_shipped_ones(invoke: Invoke, tmp_path: Path) -> None:
    done = invoke("simulate", "cathode_surfaces", "-o", tmp_path / "s")
    assert done.exit_code == 2
    assert "cathode_surface," in done.output or "cathode_surface)" in done.output


def test_results_are_compared_with_their_scenes(invoke: Invoke, scenes: Path, tmp_path: Path) -> None:
    mapped = invoke("map", scenes, "-o", tmp_path / "out")
    assert mapped.exit_code == 0, mapped.output
    done = invoke("evaluate", tmp_path / "out", scenes, "--json", tmp_path / "all.json")
    assert done.exit_code == 0, done.output
    assert {"scene_0000", "scene_0001"} <= set(done.output.split())
    told = json.loads((tmp_path / "all.json").read_text())
    # The network of these tests was never trained: it finds nothing, and the numbers must say so.
    assert told["scenes"]["scene_0000"]["n_found"] == 0
    assert told["scenes"]["scene_0000"]["recall_50pm"] == 0
    assert told["scenes"]["scene_0000"]["n_required"] > 0


def test_a_scene_without_result_is_told(invoke: Invoke, scenes: Path, tmp_path: Path) -> None:
    invoke("map", scenes, "-o", tmp_path / "out")
    shutil.rmtree(tmp_path / "out" / "scene_0001")
    done = invoke("evaluate", tmp_path / "out", scenes)
    assert done.exit_code == 1
    assert "no result for scene_0001" in done.output


def test_one_result_and_its_scene(invoke: Invoke, scenes: Path, tmp_path: Path) -> None:
    invoke("map", scenes / "scene_0000" / "image.tif", "-o", tmp_path / "out")
    done = invoke("evaluate", tmp_path / "out", scenes / "scene_0000")
    assert done.exit_code == 0, done.output
    assert "scene_0000" in done.output


def test_evaluating_nothing_is_bad_usage(invoke: Invoke, tmp_path: Path) -> None:
    assert invoke("evaluate", tmp_path, tmp_path).exit_code == 2
    assert invoke("evaluate", tmp_path / "gone", tmp_path).exit_code == 2


def test_models_are_listed_and_shown(invoke: Invoke) -> None:
    assert "unet24.v3" in invoke("models").output
    card = json.loads(invoke("models", "unet24.v3").output)
    assert card["id"] == "unet24.v3"
    assert invoke("models", "nobody").exit_code == 1


def test_training_into_a_used_folder_needs_resume(invoke: Invoke, tmp_path: Path) -> None:
    pytest.importorskip("lightning")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    (tmp_path / "t.yaml").write_text("simulation: {}\nsteps: 1\nwarmup_steps: 0\n")
    done = invoke("train", tmp_path / "t.yaml", "-o", tmp_path / "run")
    assert done.exit_code == 2
    assert "--resume" in done.output

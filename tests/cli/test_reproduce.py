"""A result folder holds what it takes to make it again."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import tifffile
from typer.testing import CliRunner, Result

from atomseg.cli import app
from atomseg.config import load_map_config
from atomseg.errors import ConfigError


def run(*arguments: object) -> Result:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return done


def test_a_result_is_made_again_from_its_summary(repository: Path, tmp_path: Path) -> None:
    """With the released model on a corner of a sample, so that there are columns, phases and a surface to differ in."""
    whole = tifffile.imread(repository / "samples" / "sc811_surface_thin.tif")
    image = tmp_path / "in" / "corner.tif"
    image.parent.mkdir()
    tifffile.imwrite(image, whole[:384, :384], imagej=True, resolution=(50.0, 50.0), metadata={"unit": "nm"})
    first, again = tmp_path / "first" / "corner", tmp_path / "again" / "corner"
    run("map", image, "-o", tmp_path / "first", "--set", "measure.point_spacing_nm=0.7")
    run("map", image, "-o", tmp_path / "again", "--config", first / "summary.json")
    names = sorted(file.name for file in first.iterdir())
    assert {"columns.csv", "phases.tif", "thickness.csv", "page.html"} <= set(names)
    differ = [name for name in names if (first / name).read_bytes() != (again / name).read_bytes()]
    assert differ in ([], ["summary.json"])
    one, two = (json.loads((folder / "summary.json").read_text(encoding="utf-8")) for folder in (first, again))
    assert one["columns"]["n"] > 100
    assert one["provenance"]["config"]["measure"]["point_spacing_nm"] == 0.7
    one["provenance"].pop("seconds"), two["provenance"].pop("seconds")
    assert one == two


def test_settings_of_a_result_can_be_changed_on_top(
    invoke: Callable[..., Result], write_tif: Callable[..., Path], tmp_path: Path
) -> None:
    invoke("map", write_tif(tmp_path / "x.tif"), "-o", tmp_path / "out", "--pixel-size-nm", "0.02")
    config = load_map_config(tmp_path / "out" / "x" / "summary.json", ["measure.point_spacing_nm=0.7"])
    assert config.measure.point_spacing_nm == 0.7


@pytest.mark.parametrize("provenance", [{}, {"config": None}, None])
def test_a_summary_without_settings_says_so(tmp_path: Path, provenance: object) -> None:
    path = tmp_path / "summary.json"
    path.write_text(json.dumps({"schema": "atomseg.summary/2", "provenance": provenance}), encoding="utf-8")
    with pytest.raises(ConfigError, match="holds no settings"):
        load_map_config(path)

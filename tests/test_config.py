"""Configurations: nothing is ignored, every mistake is one line, and the shipped files say what the code does."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from atomseg.config import (
    MapConfig,
    config_dict,
    dump_config,
    load_map_config,
    load_simulation_config,
    load_train_config,
    shipped_configs,
)
from atomseg.errors import ConfigError


def _leaves(data: object, key: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(data, dict):
        for name, value in data.items():
            yield from _leaves(value, f"{key}.{name}" if key else name)
    else:
        yield key, data


def _error(*overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_map_config(None, overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_default_file_holds_every_key_with_its_default(repository: Path) -> None:
    written = yaml.safe_load((repository / "configs" / "map" / "default.yaml").read_text(encoding="utf-8"))
    assert dict(_leaves(written)) == dict(_leaves(config_dict(MapConfig())))
    assert load_map_config("default") == MapConfig()


def test_default_file_gives_a_reason_for_every_key(repository: Path) -> None:
    for line in (repository / "configs" / "map" / "default.yaml").read_text(encoding="utf-8").splitlines():
        if line.startswith("  "):
            assert len(line.partition("#")[2].split()) > 5, line


def test_dump_reads_back_as_the_same_configuration(tmp_path: Path) -> None:
    config = load_map_config(None, ["measure.closing_nm=1.25", "classify.ratio_range=[1.7, 2.0]"])
    (tmp_path / "c.yaml").write_text(dump_config(config), encoding="utf-8")
    assert load_map_config(tmp_path / "c.yaml") == config
    assert config.measure.closing_nm == 1.25
    assert config.classify.ratio_range == (1.7, 2.0)


def test_a_configuration_is_ready_for_json() -> None:
    data = config_dict(MapConfig())
    assert json.loads(json.dumps(data)) == data


def test_a_file_names_only_what_differs_and_set_goes_on_top(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("measure: {closing_nm: 1, attached_nm: 2}\n", encoding="utf-8")
    config = load_map_config(tmp_path / "c.yaml", ["measure.closing_nm=2", "measure.closing_nm=3"])
    assert (config.measure.closing_nm, config.measure.attached_nm) == (3, 2)
    assert config.classify == MapConfig().classify


def test_an_empty_file_is_the_default(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("# nothing yet\n", encoding="utf-8")
    assert load_map_config(tmp_path / "c.yaml") == MapConfig()


def test_numbers_as_people_write_them() -> None:
    # YAML 1.1 reads 1e-1 as a string.
    assert load_map_config(None, ["measure.attached_nm=5e-1"]).measure.attached_nm == 0.5
    assert load_map_config(None, ["measure.attached_nm=1"]).measure.attached_nm == 1.0


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("infre.tile_px=512", ("unknown key 'infre'", "'infer'")),
        ("infer.tile=512", ("unknown key 'infer.tile'", "'tile_px'")),
        ("closing_nm=1", ("unknown key 'closing_nm'", "'measure.closing_nm'")),
        ("infer.tile_px=512.5", ("infer.tile_px", "512.5", "integer")),
        ("infer.tile_px='512'", ("infer.tile_px", "'512'", "integer")),
        ("infer.tile_px=true", ("infer.tile_px", "True", "integer")),
        ("infer=3", ("'infer'", "3")),
        ("infer.tile_px.side=3", ("infer.tile_px", "integer")),
        ("infer.tile_px=1", ("infer.tile_px", "64")),
        ("classify.ratio_range=[1, 2, 3]", ("classify.ratio_range", "[1, 2, 3]", "2 items")),
        ("measure.closing_nm=.nan", ("measure.closing_nm", "nan")),
        ("measure.closing_nm=.inf", ("measure.closing_nm", "inf")),
        ("measure.closing_nm=", ("measure.closing_nm", "None")),
        ("measure.closing_nm=[", ("measure.closing_nm=[", "YAML")),
        ("measure.closing_nm", ("key=value",)),
        ("=3", ("key=value",)),
    ],
)
def test_a_mistake_names_key_value_and_what_is_allowed(override: str, words: tuple[str, ...]) -> None:
    message = _error(override)
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("measure:\n  closing_nm: 1\n  closing_nm: 2\n", "'closing_nm' is given twice"),
        ("- a\n- b\n", "keys with values"),
        ("measure: [1\n", "not YAML"),
        ("measure:\n  closing: 1\n", "'closing_nm'"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "bad.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_map_config(tmp_path / "bad.yaml")
    assert "bad.yaml" in str(caught.value)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_name_lists_the_shipped_ones() -> None:
    with pytest.raises(ConfigError, match="default"):
        load_map_config("defaults")


def test_every_shipped_simulation_reads_and_dumps() -> None:
    names = shipped_configs("simulate")
    assert {"training", "cathode_surface"} <= set(names)
    for name in names:
        config = load_simulation_config(name)
        assert dataclasses.is_dataclass(config)
        assert yaml.safe_load(dump_config(config))


def test_a_simulation_key_that_is_misspelt_is_found(tmp_path: Path) -> None:
    text = shipped_configs("simulate")["cathode_surface"].read_text(encoding="utf-8")
    (tmp_path / "s.yaml").write_text(text + "\nshpae: [64, 64]\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="shpae"):
        load_simulation_config(tmp_path / "s.yaml")


def test_every_shipped_training_reads() -> None:
    pytest.importorskip("lightning")
    names = shipped_configs("train")
    assert "laptop" in names
    for name in names:
        training, simulation = load_train_config(name)
        assert dataclasses.is_dataclass(training)
        assert dataclasses.is_dataclass(simulation)


def test_a_training_needs_its_scenes(tmp_path: Path) -> None:
    pytest.importorskip("lightning")
    (tmp_path / "t.yaml").write_text("steps: 10\nwarmup_steps: 1\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="simulation"):
        load_train_config(tmp_path / "t.yaml")


def test_scenes_may_stand_in_the_training_file_or_beside_it(tmp_path: Path) -> None:
    pytest.importorskip("lightning")
    scenes = shipped_configs("simulate")["training"].read_text(encoding="utf-8")
    (tmp_path / "mine.yaml").write_text(scenes, encoding="utf-8")
    (tmp_path / "beside.yaml").write_text("simulation: mine.yaml\n", encoding="utf-8")
    inline = yaml.safe_dump({"simulation": yaml.safe_load(scenes)})
    (tmp_path / "inline.yaml").write_text(inline, encoding="utf-8")
    assert load_train_config(tmp_path / "beside.yaml") == load_train_config(tmp_path / "inline.yaml")


def test_inline_scenes_are_checked_under_their_own_name(tmp_path: Path) -> None:
    pytest.importorskip("lightning")
    (tmp_path / "t.yaml").write_text("simulation: {shpae: 3}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"simulation\.shpae"):
        load_train_config(tmp_path / "t.yaml")

"""Configurations: limits, shipped files."""

import json
from dataclasses import fields, is_dataclass, replace

import numpy as np
import pytest
import yaml

from atomseg.config import config_dict, load_simulation_config
from atomseg.errors import ConfigError
from atomseg.simulate import DetectorConfig, LatticeConfig, OtherConfig, ScanConfig, SceneConfig, SurfaceConfig


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: LatticeConfig(a_nm=(0.29, 0.28)), "a_nm"),
        (lambda: LatticeConfig(a_nm=(2.8, 2.9)), "0.32"),
        (lambda: LatticeConfig(senses=(0,)), "senses"),
        (lambda: ScanConfig(pixel_size_nm=(0.0, 0.02)), "pixel_size_nm"),
        (lambda: SurfaceConfig(p_none=0.0, p_edge=0.0, p_crack=0.0), "p_none"),
        (lambda: DetectorConfig(counts=(0.0, 10.0)), "counts"),
        (lambda: DetectorConfig(formats=()), "formats"),
        (lambda: DetectorConfig(gamma=(float("nan"), 1.0)), "gamma"),
        (lambda: OtherConfig(crystals=("Unobtainium",)), "Unobtainium"),
        (lambda: SceneConfig(shape=(8, 256)), "16"),
        (lambda: SceneConfig(p_cathode=0.0, p_other=0.0, p_nothing=0.0), "weight"),
        (lambda: SceneConfig(p_cathode=-0.1), "p_cathode"),
    ],
)
def test_values_outside_their_range_are_errors_that_name_them(make, text):
    with pytest.raises(ConfigError, match=text):
        make()


# What the training has to span at least: what microscopes and specimens are known to do, in the units of the keys.
SPANNED = {
    "lattice": {"a_nm": (0.281, 0.290), "c_nm": (1.335, 1.460), "antisite": (0.0, 0.5), "exchange": (0.2, 1.0)},
    "surface": {"cover_nm": (0.3, 15.0)},
    "layer": {"thickness_nm": (0.4, 40.0), "front_width_nm": (0.1, 2.3), "rocksalt_a_nm": (0.410, 0.420)},
    "faults": {"lamella_gaps": (2, 20), "spacing_nm": (0.43, 0.485)},
    "defects": {"vacancies": (0.0, 0.1), "bending_deg_per_10nm": (0.0, 2.0), "tetrahedral": (0.05, 0.3)},
    "optics": {
        "core_sigma_pm": (35.0, 95.0), "wide_sigma_pm": (95.0, 110.0), "ellipticity": (1.0, 1.5),
        "tail_sigma_nm": (0.15, 0.35), "mistilt_mrad": (0.0, 15.0),
    },
    "background": {"level": (0.1, 3.0)},
    "scan": {
        "pixel_size_nm": (0.006, 0.045), "anisotropy": (0.0, 0.015), "shear": (0.0, np.tan(np.deg2rad(2.97))),
        "bend_nm": (0.0, 0.5), "jitter_pm": (0.0, 40.0), "jitter_correlation": (0.0, 0.8), "wobble_pm": (0.0, 60.0),
        "wobble_rows": (3.0, 200.0), "flyback": (0.0, 0.1), "flyback_length": (0.02, 0.1), "jump_nm": (0.02, 0.3),
    },
    "detector": {
        "counts": (30.0, 1e5), "excess_noise": (1.0, 1.6), "read_noise": (0.0, 0.03), "offset": (0.0, 0.5),
        "afterglow_px": (0.2, 3.0), "clipped": (0.0, 0.01), "gamma": (0.5, 2.0), "frames": (2, 40),
        "registration_pm": (0.0, 30.0), "ramp": (-0.2, 0.2),
    },
}  # fmt: skip


@pytest.mark.parametrize(("part", "key"), [(part, key) for part, keys in SPANNED.items() for key in keys])
def test_the_training_file_spans_what_microscopes_do(part, key):
    low, high = getattr(getattr(load_simulation_config("training"), part), key)
    assert low <= SPANNED[part][key][0]
    assert high >= SPANNED[part][key][1]


def test_the_training_file_draws_every_kind():
    config = load_simulation_config("training")
    parts = [getattr(config, f.name) for f in fields(config) if is_dataclass(getattr(config, f.name))]
    chances = {f.name: getattr(part, f.name) for part in parts for f in fields(part) if f.name.startswith("p_")}
    assert [name for name, chance in chances.items() if not chance > 0.0] == []


def test_the_training_file_names_every_key(repository):
    written = yaml.safe_load((repository / "configs" / "simulate" / "training.yaml").read_text())
    assert _keys(written) == _keys(config_dict(SceneConfig()))


def test_the_training_file_is_nowhere_narrower_than_the_defaults():
    config, default = load_simulation_config("training"), SceneConfig()
    for part, keys in config_dict(default).items():
        for key, (low, high) in ((k, v) for k, v in keys.items() if _is_range(v)) if isinstance(keys, dict) else ():
            found = getattr(getattr(config, part), key)
            assert found[0] <= low, key
            assert found[1] >= high, key


def test_released_ranges_are_the_defaults():
    assert load_simulation_config("released_ranges") == SceneConfig()


@pytest.mark.parametrize(("model", "name"), [("unet24.v2", "released_ranges"), ("unet24.v3", "release")])
def test_released_models_can_be_trained_again(repository, model, name):
    card = json.loads((repository / "models" / model / "card.json").read_text())
    now = config_dict(load_simulation_config(name))
    for part, told in card["training"]["simulation"].items():
        keys = told if isinstance(told, dict) else {}
        # What the card does not know did not exist: it must be off, so that it draws no random number.
        assert [k for k in set(now[part]) - set(keys) if k.startswith("p_") and now[part][k]] == [] if keys else True
        assert {k: v for k, v in now[part].items() if k in keys} == keys if keys else now[part] == told


def _is_range(value):
    return isinstance(value, list) and len(value) == 2 and all(isinstance(v, float | int) for v in value)


def _keys(tree, before=()):
    """All paths of a mapping of mappings."""
    if not isinstance(tree, dict):
        return {before}
    return set().union(*(_keys(value, (*before, key)) for key, value in tree.items()))


@pytest.mark.parametrize("name", ["cathode_surface", "crack", "thick_disordered", "bulk", "defects"])
def test_shipped_files_make_cathodes(repository, name):
    config = load_simulation_config(repository / "configs" / "simulate" / f"{name}.yaml")
    assert (config.p_cathode, config.p_other, config.p_nothing) == (1.0, 0.0, 0.0)
    assert replace(config, shape=(64, 64)).surface == config.surface

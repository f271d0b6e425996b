"""Configurations: limits, shipped files."""

from dataclasses import replace

import pytest

from atomseg.config import load_simulation_config
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


def test_the_training_file_holds_every_default(repository):
    assert load_simulation_config(repository / "configs" / "simulate" / "training.yaml") == SceneConfig()


@pytest.mark.parametrize("name", ["cathode_surface", "crack", "thick_disordered", "bulk", "defects"])
def test_shipped_files_make_cathodes(repository, name):
    config = load_simulation_config(repository / "configs" / "simulate" / f"{name}.yaml")
    assert (config.p_cathode, config.p_other, config.p_nothing) == (1.0, 0.0, 0.0)
    assert replace(config, shape=(64, 64)).surface == config.surface

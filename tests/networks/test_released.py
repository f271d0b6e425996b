"""The models that are in the repository."""

import pytest

from atomseg.networks import DEFAULT_MODEL, check_golden, load_model

LARGEST_MB = 16


@pytest.fixture(scope="module")
def folders(repository):
    return sorted(card.parent for card in (repository / "models").glob("*/card.json"))


def test_the_default_model_is_there(folders):
    assert DEFAULT_MODEL in [folder.name for folder in folders]


def test_every_model_loads_reproduces_its_golden_outputs_and_is_documented(folders):
    for folder in folders:
        model = load_model(folder)
        assert model.card.id == folder.name
        assert model.card.heads == model.card.architecture.heads
        check_golden(model)
        text = (folder / "README.md").read_text(encoding="utf-8")
        assert model.sha256 in text
        assert model.card.training.commit in text
        assert sum(p.stat().st_size for p in folder.iterdir()) < LARGEST_MB * 2**20


def test_the_default_model_was_measured_and_is_good_enough():
    """Floors for every default model: what the first one reached, rounded down."""
    accuracy = load_model().card.accuracy
    assert accuracy["scenes"] >= 200
    assert accuracy["median_scene_f1_50pm"] > 0.97
    assert accuracy["precision_50pm"] > 0.95
    assert accuracy["false_per_100nm2"] <= 1.0

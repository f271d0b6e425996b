import json
import os
from dataclasses import asdict

import numpy as np
import pytest
import torch

from atomseg.errors import ModelError
from atomseg.networks import (
    HEADS,
    check_golden,
    choose_device,
    find_model,
    list_models,
    load_model,
    read_card,
    write_card,
)


def edit_card(folder, **changes):
    data = json.loads((folder / "card.json").read_text()) | changes
    (folder / "card.json").write_text(json.dumps(data))


def architecture(*channels):
    """Architecture in a card."""
    return {"channels": channels, "bottom_blocks": 0, "bottom_dilation": 1, "heads": list(HEADS)}


def test_a_folder_loads_with_its_card_and_reproduces_its_golden_outputs(make_model_folder):
    folder = make_model_folder()
    model = load_model(folder)
    assert model.card.id == "tiny.t1"
    assert model.sha256 == model.card.sha256
    assert not model.network.training
    assert model.device.type == "cpu"
    assert model.card.normalization.mean_sigma_nm == 0.5
    assert max(check_golden(model).values()) < 1e-4  # the same machine and weights


def test_a_changed_weight_file_is_refused_with_both_hashes(make_model_folder):
    folder = make_model_folder()
    told = read_card(folder / "card.json").sha256
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match=told) as error:
        load_model(folder)
    assert len([word for word in str(error.value).replace(",", " ").split() if len(word.strip(";")) == 64]) == 2


def test_other_weights_under_the_same_card_are_refused_by_the_golden_check(make_model_folder):
    folder = make_model_folder()
    model = load_model(folder)
    with torch.no_grad():
        next(model.network.parameters()).mul_(1.5)
    with pytest.raises(ModelError, match="golden outputs"):
        check_golden(model)


def test_an_unknown_name_lists_the_known_ones(make_model_folder, monkeypatch, tmp_path):
    make_model_folder("one.a")
    make_model_folder("two.b")
    monkeypatch.setenv("ATOMSEG_MODELS", str(tmp_path / "models"))
    with pytest.raises(ModelError, match=r"'three.c'.*one.a, .*two.b"):
        load_model("three.c")


def test_search_order(make_model_folder, monkeypatch, tmp_path):
    first = make_model_folder("same.x", tmp_path / "first", seed=1)
    second = make_model_folder("same.x", tmp_path / "second", seed=2)
    monkeypatch.setenv("ATOMSEG_MODELS", os.pathsep.join(str(f.parent) for f in (first, second)))
    assert find_model("same.x") == first
    assert find_model(second) == second  # an explicit path wins
    monkeypatch.setenv("ATOMSEG_MODELS", str(second.parent))
    assert list_models()["same.x"] == second


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda f: (f / "card.json").unlink(), "no model"),
        (lambda f: (f / "card.json").write_text("{"), "can not be read as a model card"),
        (lambda f: (f / "card.json").write_text("[1]"), "schema None"),
        (lambda f: (f / "model.safetensors").unlink(), "can not be read"),
        (lambda f: edit_card(f, schema=99), "schema 99"),
        (lambda f: edit_card(f, colour="blue"), "colour"),
        (lambda f: edit_card(f, heatmap_threshold="high"), "heatmap_threshold"),
        (lambda f: edit_card(f, valid_pixel_size_nm=[1.0]), "valid_pixel_size_nm"),
        (lambda f: edit_card(f, architecture=architecture(1)), "network.channels"),
        (lambda f: edit_card(f, architecture=architecture(8, 8)), "do not fit"),
    ],
)
def test_a_damaged_folder_gives_one_line(make_model_folder, break_it, message):
    folder = make_model_folder()
    break_it(folder)
    with pytest.raises(ModelError, match=message) as error:
        load_model(folder)
    assert "\n" not in str(error.value)


def test_cards_survive_writing(make_model_folder, tmp_path):
    card = read_card(make_model_folder() / "card.json")
    write_card(card, tmp_path / "again.json")
    assert asdict(read_card(tmp_path / "again.json")) == asdict(card)


def test_devices():
    assert choose_device("cpu").type == "cpu"
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(ModelError, match="no device"):
        choose_device("abacus")
    with pytest.raises(ModelError, match="not on this machine"):
        choose_device("cuda:63")


def test_a_missing_golden_file_is_an_error(make_model_folder):
    folder = make_model_folder()
    model = load_model(folder)
    (folder / "golden.npz").write_bytes(b"")
    with pytest.raises(ModelError, match="golden file"):
        check_golden(model)
    np.savez(folder / "golden.npz", input=np.array([object()], dtype=object))
    with pytest.raises(ModelError, match="golden file"):  # pickled content is refused
        check_golden(model)

"""Early end: the weights that are released are those of the best validation."""

import numpy as np
import pytest
import torch

from atomseg.networks import UNetConfig, load_model
from atomseg.simulate import SceneConfig
from atomseg.train import TrainConfig, module, release
from atomseg.train.checkpoint import read_checkpoint, released_weights
from atomseg.train.run import fit

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
INTERVAL = 3


def small(**changes):
    settings = {
        "network": UNetConfig(channels=(8, 12), bottom_blocks=0),
        "steps": 60,
        "batch_size": 2,
        "crop_px": 64,
        "warmup_steps": 2,
        "decay_fraction": 0.0,
        "validation_scenes": 2,
        "validation_interval": INTERVAL,
        "checkpoint_interval": INTERVAL,
        "picture_interval": 100,
        "patience": 2,
        "workers": 0,
        "accelerator": "cpu",
        "precision": "32-true",
    }
    return TrainConfig(**(settings | changes))


@pytest.fixture
def rates(monkeypatch):
    """F1 of the validations to come, in their order; the last one is repeated."""
    coming = []

    def told(*_):
        return 0.5, {"f1": coming.pop(0) if len(coming) > 1 else coming[0]}

    monkeypatch.setattr(module, "choose_threshold", told)
    return coming


def average_at(step, scene_source, folder):
    """Averaged weights of a training that simply has so many steps."""
    return released_weights(read_checkpoint(fit(small(steps=step, patience=0), scene_source, output=folder)))[0]


def same(one, other):
    return all(torch.equal(value, other[name]) for name, value in one.items())


def test_the_best_weights_are_kept_not_the_last(rates, scene_source, tmp_path):
    """Best at the second validation, two without a better one: it ends at the fourth and stands for the second."""
    rates += [0.5, 0.9, 0.3, 0.8]
    saved = read_checkpoint(fit(small(), scene_source, output=tmp_path / "run"))
    weights, step = released_weights(saved)
    assert (saved["global_step"], step) == (4 * INTERVAL, 2 * INTERVAL)
    assert same(weights, average_at(2 * INTERVAL, scene_source, tmp_path / "short"))
    last = {name: saved["state_dict"][f"average.{name}"] for name in weights}
    assert same(last, average_at(4 * INTERVAL, scene_source, tmp_path / "long"))  # to go on from
    assert not same(weights, last)


def test_without_patience_the_last_weights_are_released(rates, scene_source, tmp_path):
    rates += [0.9, 0.1]
    saved = read_checkpoint(fit(small(steps=2 * INTERVAL, patience=0), scene_source, output=tmp_path))
    assert released_weights(saved)[1] == 2 * INTERVAL
    assert "atomseg_best" not in saved


def test_a_model_holds_the_best_weights_and_tells_their_steps(rates, scene_source, tmp_path):
    rates += [0.9, 0.1]
    checkpoint = fit(small(), scene_source, output=tmp_path / "run")
    card = release(checkpoint, tmp_path / "best.v1", simulation=SceneConfig(), commit="abc", n_scenes=1)
    assert (card.training.steps, card.training.scenes) == (INTERVAL, 2 * INTERVAL)
    assert f"{INTERVAL} of 60 steps" in (tmp_path / "best.v1" / "README.md").read_text()
    released = load_model(tmp_path / "best.v1", device="cpu").network.state_dict()
    assert same(average_at(INTERVAL, scene_source, tmp_path / "short"), released)


@pytest.mark.parametrize(("draws", "reached"), [(4 * INTERVAL + 2, 2 * INTERVAL), (6 * INTERVAL + 2, 3 * INTERVAL)])
def test_an_interruption_changes_neither_the_best_nor_the_end(rates, scene_source, tmp_path, draws, reached):
    """Also where the best validation, or one that counts, is that of the checkpoint's own step."""
    told = [0.5, 0.9, 0.3, 0.8]
    rates += told
    whole = read_checkpoint(fit(small(), scene_source, output=tmp_path / "whole"))

    def interrupted(rng):
        nonlocal draws
        draws -= 1
        if draws < 0:
            raise RuntimeError("interrupted")
        return scene_source(rng)

    rates[:] = told
    known = scene_source
    with pytest.raises(RuntimeError, match="interrupted"):
        fit(small(), interrupted, output=tmp_path / "parts", known=known)
    assert read_checkpoint(tmp_path / "parts" / "checkpoints" / "last.ckpt")["global_step"] == reached
    parts = read_checkpoint(fit(small(), scene_source, output=tmp_path / "parts", resume=True))
    assert parts["global_step"] == whole["global_step"] == 4 * INTERVAL
    assert released_weights(parts)[1] == 2 * INTERVAL
    assert same(released_weights(whole)[0], released_weights(parts)[0])
    assert same(whole["state_dict"], parts["state_dict"])


def test_an_ended_run_that_is_resumed_stays_as_it_is_unless_it_may_wait_longer(rates, scene_source, tmp_path):
    rates += [0.9, 0.1]
    fit(small(), scene_source, output=tmp_path)
    again = read_checkpoint(fit(small(), scene_source, output=tmp_path, resume=True))
    assert (again["global_step"], released_weights(again)[1]) == (3 * INTERVAL, INTERVAL)
    longer = read_checkpoint(fit(small(patience=4), scene_source, output=tmp_path, resume=True))
    assert (longer["global_step"], released_weights(longer)[1]) == (5 * INTERVAL, INTERVAL)


def test_an_ended_run_can_be_finished_with_a_decay(rates, scene_source, tmp_path):
    """What docs/how-to.md advises: no patience, and steps whose last part begins about where the run had ended."""
    rates += [0.9, 0.1]
    ended = read_checkpoint(fit(small(), scene_source, output=tmp_path))
    assert ended["optimizer_states"][0]["param_groups"][0]["lr"] == small().learning_rate  # nothing has decayed
    finish = small(patience=0, steps=6 * INTERVAL, decay_fraction=0.5)
    saved = read_checkpoint(fit(finish, scene_source, output=tmp_path, resume=True))
    assert released_weights(saved)[1] == saved["global_step"] == 6 * INTERVAL
    assert np.isclose(saved["optimizer_states"][0]["param_groups"][0]["lr"], 0.0, atol=1e-9)

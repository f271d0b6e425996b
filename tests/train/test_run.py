import csv
import json

import numpy as np
import pytest
import torch

from atomseg.errors import ConfigError, ModelError, OutputError
from atomseg.networks import UNet, UNetConfig
from atomseg.simulate import SceneConfig
from atomseg.train import TrainConfig, train
from atomseg.train.assess import assess, choose_threshold
from atomseg.train.checkpoint import read_checkpoint
from atomseg.train.dataset import validation_examples
from atomseg.train.module import learning_rate_factor, update_average
from atomseg.train.run import choose_precision, fit

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")


def small(**changes):
    settings = {
        "network": UNetConfig(channels=(8, 12), bottom_blocks=0),
        "steps": 6,
        "batch_size": 2,
        "crop_px": 64,
        "warmup_steps": 2,
        "decay_fraction": 0.3,
        "validation_scenes": 2,
        "validation_interval": 3,
        "checkpoint_interval": 3,
        "picture_interval": 3,
        "workers": 0,
        "accelerator": "cpu",
        "precision": "32-true",
    }
    return TrainConfig(**(settings | changes))


def weights(checkpoint, prefix):
    state = read_checkpoint(checkpoint)["state_dict"]
    return {name: value for name, value in state.items() if name.startswith(prefix)}


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(scene_source, tmp_path):
    """Same batches, optimizer, schedule and average: stopping at step 4 of 6 must leave no trace.

    Four steps are a run of their own that is before its decay, as the first four of six are.
    """
    whole = fit(small(steps=6, decay_fraction=0.0), scene_source, output=tmp_path / "whole")
    fit(small(steps=4, decay_fraction=0.0), scene_source, output=tmp_path / "parts")
    parts = fit(small(steps=6, decay_fraction=0.0), scene_source, output=tmp_path / "parts", resume=True)
    for prefix in ("network.", "average."):
        one, other = weights(whole, prefix), weights(parts, prefix)
        for name, value in one.items():
            assert torch.allclose(value.float(), other[name].float(), atol=1e-6), name
    assert read_checkpoint(parts)["global_step"] == 6
    before = fit(small(steps=4, decay_fraction=0.0), scene_source, output=tmp_path / "other")
    assert not torch.equal(
        weights(before, "network.")["network.head.0.weight"], weights(whole, "network.")["network.head.0.weight"]
    )


def test_a_run_leaves_metrics_pictures_and_checkpoints(scene_source, tmp_path):
    last = fit(small(), scene_source, output=tmp_path)
    assert last == tmp_path / "checkpoints" / "last.ckpt"
    assert sorted(p.name for p in (tmp_path / "pictures").iterdir()) == ["step_0000003.png", "step_0000006.png"]
    rows = list(csv.DictReader((tmp_path / "metrics" / "from_step_0000000" / "metrics.csv").open()))
    f1 = [float(row["val/f1"]) for row in rows if row.get("val/f1")]
    assert len(f1) == 2
    assert all(0 <= v <= 1 for v in f1)
    assert list((tmp_path / "tensorboard").rglob("events*"))


def test_the_loss_falls_and_columns_are_found(scene_source, tmp_path):
    config = small(steps=40, batch_size=4, learning_rate=1e-2, average_decay=0.9, validation_interval=40)
    checkpoint = fit(config, scene_source, output=tmp_path)
    network = UNet(config.network)
    state = weights(checkpoint, "average.")
    network.load_state_dict({name.removeprefix("average."): value for name, value in state.items()})
    examples = validation_examples(scene_source, config)
    threshold, rates = choose_threshold(network, examples)
    assert rates["f1"] > 0.6  # 160 easy images; the untrained network is below 0.2
    assert rates["f1"] > choose_threshold(UNet(config.network), examples)[1]["f1"] + 0.3
    card = assess(network.eval(), examples, threshold)
    assert card["f1_50pm"] == pytest.approx(rates["f1"], abs=1e-4)
    assert card["scenes"] == 2


def test_a_run_without_progress_stops_early(scene_source, tmp_path):
    """With no learning to speak of the F1 does not rise: two validations without a better one end the run."""
    config = small(steps=60, warmup_steps=0, learning_rate=1e-6, validation_interval=3, patience=2)
    stopped = read_checkpoint(fit(config, scene_source, output=tmp_path))
    assert 6 <= stopped["global_step"] < 60


def test_the_same_seed_gives_the_same_weights(scene_source, tmp_path):
    one, same = (weights(fit(small(), scene_source, output=tmp_path / name), "average.") for name in "ab")
    assert all(torch.equal(one[name], same[name]) for name in one)
    other = weights(fit(small(seed=1), scene_source, output=tmp_path / "c"), "average.")
    assert not torch.equal(one["average.head.0.weight"], other["average.head.0.weight"])


def test_a_second_run_does_not_overwrite_the_first(scene_source, tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.ckpt").write_bytes(b"")
    with pytest.raises(OutputError, match="already holds a run"):
        train(small(), simulation=SceneConfig(), output=tmp_path)


def test_resuming_needs_a_run_with_the_same_settings(scene_source, tmp_path):
    with pytest.raises(ModelError, match="no checkpoint"):
        train(small(), simulation=SceneConfig(), output=tmp_path, resume=True)
    fit(small(steps=2), scene_source, output=tmp_path)
    with pytest.raises(ConfigError, match=r"learning_rate: 0\.002 then, 0\.1 now"):
        train(small(steps=9, learning_rate=0.1), simulation=SceneConfig(), output=tmp_path, resume=True)


def test_a_foreign_checkpoint_is_refused(tmp_path):
    torch.save({"state_dict": {}}, tmp_path / "x.ckpt")
    with pytest.raises(ModelError, match="not a checkpoint of atomseg"):
        read_checkpoint(tmp_path / "x.ckpt")


def test_checkpoints_hold_plain_values_only(scene_source, tmp_path):
    """They load with unpickling of objects switched off, and the settings in them are JSON."""
    saved = torch.load(fit(small(steps=2), scene_source, output=tmp_path), weights_only=True)
    assert json.loads(json.dumps(saved["atomseg_config"]))["steps"] == 2
    assert saved["atomseg_seconds"] > 0


def test_the_learning_rate_rises_stays_and_falls():
    config = small(steps=100, warmup_steps=10, decay_fraction=0.4)
    factors = [learning_rate_factor(step, config) for step in range(101)]
    assert np.allclose(factors[:10], np.arange(1, 11) / 10)
    assert set(factors[10:60]) == {1.0}
    assert factors[80] == pytest.approx(0.5)
    assert factors[100] == pytest.approx(0.0)
    longer = small(steps=200, warmup_steps=10, decay_fraction=0.4)
    assert [learning_rate_factor(s, longer) for s in range(60)] == factors[:60]  # a run can be lengthened


def test_the_average_moves_towards_the_network():
    torch.manual_seed(0)
    config = UNetConfig(channels=(4, 4), bottom_blocks=0)
    average, network = UNet(config), UNet(config)
    before = average.head[0].weight.detach().clone()
    update_average(average, network, 0.75)
    expected = 0.75 * before + 0.25 * network.head[0].weight
    assert torch.allclose(average.head[0].weight, expected)
    network.encoder[0][1].num_batches_tracked += 7
    update_average(average, network, 0.75)
    assert int(average.encoder[0][1].num_batches_tracked) == 7


def test_precision_follows_the_machine():
    assert choose_precision(small(precision="bf16-mixed")) == "bf16-mixed"
    assert choose_precision(small(precision="auto")) in {"32-true", "bf16-mixed"}


@pytest.mark.parametrize(
    ("avx", "amx", "expected"), [(True, False, "bf16-mixed"), (False, True, "bf16-mixed"), (False, False, "32-true")]
)
def test_bf16_is_chosen_where_the_cpu_has_it(monkeypatch, avx, amx, expected):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
    assert choose_precision(small(precision="auto")) == expected


def test_a_torch_that_does_not_say_gets_full_precision(monkeypatch):
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.delattr(torch.cpu, name, raising=False)
    assert choose_precision(small(precision="auto")) == "32-true"


@pytest.mark.parametrize(
    ("key", "value"),
    [("steps", 0), ("crop_px", 98), ("learning_rate", 0.0), ("average_decay", 1.0), ("warmup_steps", 7)],
)
def test_settings_out_of_range_name_the_key(key, value):
    with pytest.raises(ConfigError, match=key):
        small(**{key: value})

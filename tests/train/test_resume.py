"""Going on with a run: only with what it was begun with, and wherever its folder is."""

import json
import shutil
import signal
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
import yaml
from typer.testing import CliRunner

from atomseg.cli import app
from atomseg.errors import ConfigError
from atomseg.networks import UNetConfig, load_model
from atomseg.simulate import OtherConfig, SceneConfig
from atomseg.train import TrainConfig, release, train
from atomseg.train.checkpoint import last_checkpoint, read_checkpoint
from atomseg.train.origin import check_resumed, origin_of
from atomseg.train.run import fit

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
PLAIN, ANOTHER = SceneConfig(), SceneConfig(p_nothing=0.5)


def small(**changes):
    settings = {
        "network": UNetConfig(channels=(6, 8), bottom_blocks=0),
        "steps": 2,
        "batch_size": 2,
        "crop_px": 64,
        "warmup_steps": 1,
        "decay_fraction": 0.0,
        "validation_scenes": 2,
        "validation_interval": 100,
        "checkpoint_interval": 2,
        "picture_interval": 100,
        "workers": 0,
        "accelerator": "cpu",
        "precision": "32-true",
    }
    return TrainConfig(**(settings | changes))


@pytest.fixture
def own(scene_source):
    """Three scenes."""
    return [scene_source(np.random.default_rng(seed), side=90) for seed in range(3)]


@pytest.fixture
def begun(scene_source, tmp_path):
    """Function that makes a run of two steps, and returns its folder."""

    def run(config=None, scenes=(), start=None):
        origin = origin_of(PLAIN, scenes, start)
        fit(config or small(), scene_source, output=tmp_path / "run", origin=origin)
        return tmp_path / "run"

    return run


def forget(folder):
    """Make a run one of a version that did not keep what it was begun with."""
    path = last_checkpoint(folder)
    saved = torch.load(path, weights_only=True)
    del saved["atomseg_origin"], saved["callbacks"]["_Record"]["origin"]
    torch.save(saved, path)


def test_a_run_under_other_scenes_is_refused_and_its_record_stays(tmp_path):
    output = tmp_path / "run"
    train(small(), simulation=PLAIN, output=output)
    written = (output / "simulation.json").read_text()
    assert read_checkpoint(last_checkpoint(output))["atomseg_origin"] == asdict(origin_of(PLAIN))
    with pytest.raises(ConfigError, match=r"simulation\.p_nothing: \S+ then, 0\.5 now"):
        train(small(steps=4), simulation=ANOTHER, output=output, resume=True)
    assert (output / "simulation.json").read_text() == written
    train(small(steps=4), simulation=PLAIN, output=output, resume=True)
    assert read_checkpoint(last_checkpoint(output))["global_step"] == 4


def test_only_the_first_of_many_differences_are_named(begun):
    other = replace(ANOTHER, p_cathode=0.1, p_other=0.1, shape=(99, 99))
    with pytest.raises(ConfigError, match="and 1 more") as caught:
        check_resumed(small(), origin_of(other), begun())
    assert "shape" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_own_scenes_have_to_be_the_same(begun, own):
    folder = begun(scenes=own)
    moved = [replace(scene, micrograph=replace(scene.micrograph, name="x", path="elsewhere")) for scene in own]
    check_resumed(small(), origin_of(PLAIN, moved), folder)
    corrected = own[2].columns.table.assign(y_px=own[2].columns.table["y_px"] + 0.5)
    columns = replace(own[2].columns, table=corrected)
    for other in ((), own[:2], own[::-1], [*own[:2], replace(own[2], columns=columns)]):
        with pytest.raises(ConfigError, match=r"--scenes: \w+"):
            check_resumed(small(), origin_of(PLAIN, other), folder)


def test_training_compares_what_it_is_given(begun, own):
    """The first weights and the scenes of `train` itself: left away, or added, they are not the same."""
    model = load_model("unet24.v3", device="cpu")
    card = model.card
    bound = small(network=card.architecture, normalize=card.normalization, canonical_pixel_nm=card.pixel_size_nm)
    folder = begun(bound)
    with pytest.raises(ConfigError, match=r"--from: none then, \w{40}"):
        train(bound, simulation=PLAIN, output=folder, resume=True, start=model)
    with pytest.raises(ConfigError, match=r"--scenes: none then, \w{40}"):
        train(bound, simulation=PLAIN, output=folder, resume=True, scenes=own)
    shutil.rmtree(folder)
    begun(bound, start=model)
    with pytest.raises(ConfigError, match=r"--from: \w+\.\.\. then, none now"):
        train(bound, simulation=PLAIN, output=folder, resume=True)


def test_structure_files_are_compared_by_content(begun, tmp_path):
    def with_file(folder, text):
        (tmp_path / folder).mkdir(exist_ok=True)
        path = tmp_path / folder / "mine.cif"
        path.write_text(text)
        return origin_of(SceneConfig(other=OtherConfig(cif=(str(path),))))

    first = with_file("a", "data_one")
    assert with_file("b", "data_one") == first
    assert with_file("a", "data_two") != first


def test_an_old_run_goes_on_and_says_what_was_not_checked(begun):
    folder = begun()
    forget(folder)
    with pytest.warns(UserWarning, match="not checked to be the same now: simulation, --scenes, --from"):
        train(small(steps=4), simulation=PLAIN, output=folder, resume=True)
    assert read_checkpoint(last_checkpoint(folder))["global_step"] == 4
    # What it was begun with is still not known, but for the simulation that now lies beside it.
    with pytest.warns(UserWarning, match="not checked to be the same now: --scenes, --from"):
        train(small(steps=6), simulation=PLAIN, output=folder, resume=True)


def test_of_an_old_run_the_file_beside_it_tells_the_simulation(begun):
    folder = begun()
    forget(folder)
    (folder / "simulation.json").write_text(json.dumps(origin_of(PLAIN).simulation))
    with pytest.raises(ConfigError, match=r"simulation\.p_nothing"):
        check_resumed(small(), origin_of(ANOTHER), folder)


def test_the_command_refuses_on_one_line(tmp_path):
    keys = ("steps", "batch_size", "crop_px", "warmup_steps", "validation_scenes", "workers", "accelerator")
    settings = {name: getattr(small(), name) for name in keys} | {"network": {"channels": [6, 8]}}

    def command(simulation, *words):
        (tmp_path / "t.yaml").write_text(yaml.safe_dump(settings | {"simulation": simulation}))
        return CliRunner().invoke(app, ["train", str(tmp_path / "t.yaml"), "-o", str(tmp_path / "run"), *words])

    assert command({}).exit_code == 0
    done = command({"background": {"level": [0.01, 0.5]}}, "--resume")
    assert done.exit_code == 2
    said = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(said) == 1
    assert "(simulation.background.level: [0.01, 2.0] then, [0.01, 0.5] now)" in said[0]


def test_progress_counts_steps_of_the_whole_training(tmp_path, capfd):
    train(small(steps=2), simulation=PLAIN, output=tmp_path / "run")
    assert "2/2" in capfd.readouterr().out
    train(small(steps=5), simulation=PLAIN, output=tmp_path / "run", resume=True)
    shown = capfd.readouterr().out
    assert "5/5" in shown
    # Steps of this run alone would be told as 1 of 5, 2 of 5.
    assert "1/5" not in shown


def test_a_model_is_not_released_under_other_scenes(begun, tmp_path):
    checkpoint = last_checkpoint(begun())
    with pytest.raises(ConfigError, match=r"trained on other scenes \(simulation\.p_nothing: "):
        release(checkpoint, tmp_path / "other.v1", simulation=ANOTHER, commit="abc", n_scenes=1)
    assert not (tmp_path / "other.v1").exists()


def test_a_moved_run_goes_on_in_its_last_checkpoint(scene_source, tmp_path):
    """Interrupted, moved, interrupted, moved: nothing is lost, and it ends where an undisturbed run does."""
    whole = read_checkpoint(fit(small(steps=8), scene_source, output=tmp_path / "whole"))
    folder = tmp_path / "run_0"

    def run(draws, **words):
        left = draws

        def source(rng):
            nonlocal left
            left -= 1
            if left < 0:
                raise RuntimeError("interrupted")
            return scene_source(rng)

        return fit(small(steps=8), source, output=folder, known=scene_source, **words)

    for k, reached in enumerate((2, 4)):
        with pytest.raises(RuntimeError, match="interrupted"):
            run(2 * 3 + 1, resume=k > 0)
        assert read_checkpoint(last_checkpoint(folder))["global_step"] == reached
        folder = folder.rename(tmp_path / f"run_{k + 1}")
    parts = read_checkpoint(run(100, resume=True))
    assert parts["global_step"] == 8
    assert [path.name for path in (folder / "checkpoints").glob("last*")] == ["last.ckpt"]
    for name, value in whole["state_dict"].items():
        assert torch.equal(value, parts["state_dict"][name]), name


def test_an_interrupt_keeps_the_checkpoint_and_says_how_to_go_on(begun, scene_source, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    begun()
    monkeypatch.setattr("atomseg.train.module.ColumnTraining.training_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit(small(steps=4), scene_source, output=tmp_path / "run", resume=True)
    # Another Ctrl-C would end this process again.
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    monkeypatch.setattr("atomseg.train.train", interrupted)

    def command(name, *words):
        return CliRunner().invoke(app, ["train", "laptop", "-o", str(tmp_path / name), *words])

    result = command("run", "--resume")
    assert result.exit_code == 130
    assert f"interrupted; add --resume to go on from the last checkpoint in {tmp_path / 'run'}" in result.output
    assert "interrupted; there was no checkpoint yet" in command("new").output

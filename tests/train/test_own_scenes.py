"""Fine-tuning: own scenes in, first weights from a model, the result as a model."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import tifffile
import torch
import yaml
from typer.testing import CliRunner

from atomseg.cli import app
from atomseg.errors import InputError
from atomseg.io import read_labelled, read_training_folder, write_scene
from atomseg.networks import UNetConfig, load_model
from atomseg.simulate import SceneConfig, simulate
from atomseg.train import TrainConfig, release, train
from atomseg.train.checkpoint import read_checkpoint
from atomseg.train.dataset import make_example
from atomseg.train.own import MixedScenes, cut, mixed_sources

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")


def small(**changes):
    settings = {
        "network": UNetConfig(channels=(6, 8), bottom_blocks=0),
        "steps": 2,
        "batch_size": 2,
        "crop_px": 64,
        "warmup_steps": 1,
        "validation_scenes": 2,
        "validation_interval": 2,
        "checkpoint_interval": 2,
        "picture_interval": 2,
        "workers": 0,
        "accelerator": "cpu",
    }
    return TrainConfig(**(settings | changes))


@pytest.fixture
def cli():
    """Run a command line in this process."""

    def run(*words):
        return CliRunner().invoke(app, [str(word) for word in words])

    return run


@pytest.fixture
def labelled(tmp_path, scene_source):
    """Function that writes an image with the table of its columns, and returns the scene that it is."""

    def write(name, seed):
        scene = scene_source(np.random.default_rng(seed), side=90)
        folder = tmp_path / "own"
        folder.mkdir(exist_ok=True)
        image = scene.micrograph.image.astype(np.float32)
        tifffile.imwrite(
            folder / f"{name}.tif", image, imagej=True, resolution=(40, 40), metadata={"unit": "nm", "axes": "YX"}
        )
        scene.columns.table[["y_px", "x_px"]].query("0 <= y_px < 89 and 0 <= x_px < 89").to_csv(
            folder / f"{name}.csv", index=False
        )
        return scene

    return write


def test_a_labelled_image_teaches_where_its_columns_are_and_no_more(labelled, tmp_path):
    scene = labelled("a", 1)
    own = read_labelled(tmp_path / "own" / "a.tif", tmp_path / "own" / "a.csv")
    assert own.micrograph.calibration.pixel_size_nm == pytest.approx((0.025, 0.025))
    config = small()
    one = make_example(own, config, np.random.default_rng(3))
    other = make_example(
        replace(scene, columns=type(scene.columns)(scene.columns.table.assign(required=1))),
        config,
        np.random.default_rng(3),
    )
    assert torch.equal(one.image, other.image)
    assert torch.equal(one.heatmap, other.heatmap)
    assert torch.allclose(one.offset, other.offset, atol=1e-5)
    assert (float(one.known), float(one.clean_known)) == (0, 0)
    assert (float(other.known), float(other.clean_known)) == (1, 1)


def test_a_piece_of_a_scene_is_the_scene_there(scene_source):
    scene = scene_source(np.random.default_rng(0), side=90)
    piece = cut(scene, np.array([20, 10]), np.array([66, 70]))
    assert np.array_equal(piece.micrograph.image, scene.micrograph.image[20:86, 10:80])
    assert np.array_equal(piece.clean, scene.clean[20:86, 10:80])
    assert np.array_equal(piece.crystal, scene.crystal[20:86, 10:80])
    assert np.allclose(piece.columns.yx_px, scene.columns.yx_px - [20, 10])


def test_own_and_simulated_scenes_are_mixed_and_validation_scenes_are_kept_apart(scene_source):
    scenes = [scene_source(np.random.default_rng(k), side=90 + k) for k in range(6)]
    simulated = replace(scenes[0], parameters={"simulated": True})
    config = small(scene_share=0.3)
    first, second = mixed_sources(scenes, lambda rng: simulated, config)
    rng = np.random.default_rng(0)
    own = [not first(rng).parameters for _ in range(400)]
    assert np.mean(own) == pytest.approx(0.3, abs=0.1)  # four standard deviations of a share of 400
    assert isinstance(first, MixedScenes)
    assert isinstance(second, MixedScenes)
    assert [s.micrograph.shape[0] for s in second.scenes] == [95]
    assert len(first.scenes) == 5


def test_scenes_that_can_not_be_used_are_refused(scene_source, tmp_path):
    scene = scene_source(np.random.default_rng(0), side=60)
    with pytest.raises(InputError, match="give at least 2"):
        mixed_sources([scene], scene_source, small())
    with pytest.raises(InputError, match="smaller crop_px"):
        mixed_sources([scene, scene], scene_source, small())
    with pytest.raises(InputError, match="nothing to learn from"):
        read_training_folder(tmp_path)
    with pytest.raises(InputError, match="is no folder"):
        read_training_folder(tmp_path / "none")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("y,x\n1,2\n", "y_px and x_px; its first line names y, x$"),
        ("y;x;note\n1;2;a\n", "y_px and x_px; its first line names y, x, note$"),
        ("y_px,x_px\n1,left\n", "needs numbers in the columns y_px and x_px .*left"),
        ("y_px,x_px\n1,5,2,25\n", "more cells than its first line names"),
        ("", "can not be read as a table"),
        ("y_px,x_px\n1,900\n", "outside"),
        ("y_px,x_px\n1,nan\n", "outside"),
    ],
)
def test_a_wrong_table_is_refused(labelled, tmp_path, table, message):
    labelled("a", 1)
    (tmp_path / "own" / "a.csv").write_text(table)
    with pytest.raises(InputError, match=message):
        read_training_folder(tmp_path / "own")


def test_a_table_without_image_is_refused(labelled, tmp_path):
    labelled("a", 1)
    (tmp_path / "own" / "b.csv").write_text("y_px,x_px\n1,2\n")
    with pytest.raises(InputError, match=r"belongs to one image b\.\*; there: none"):
        read_training_folder(tmp_path / "own")


def test_simulated_folders_and_labelled_images_are_read_together(labelled, tmp_path):
    labelled("a", 1)
    for k in range(2):
        scene = simulate(SceneConfig(shape=(96, 96)), np.random.default_rng(k))
        write_scene(scene, tmp_path / "own" / f"scene_{k}")
    scenes = read_training_folder(tmp_path / "own")
    assert len(scenes) == 3
    assert np.array_equal(scenes[0].micrograph.image.shape, (96, 96))
    assert np.isnan(scenes[2].columns.table["amplitude"]).all()


def test_fine_tuning_starts_at_the_model_and_ends_in_one_that_maps(labelled, tmp_path, cli):
    """The whole command, from a model and labelled images to a new model folder."""
    simulation = SceneConfig()
    checkpoint = train(small(), simulation=simulation, output=tmp_path / "first")
    release(checkpoint, tmp_path / "tiny.v1", simulation=simulation, commit="abc", n_scenes=2)
    for k, name in enumerate("abc"):
        labelled(name, k)
    # Another architecture in the file: the model's counts. Almost no learning: the weights stay near the first ones.
    settings = {"simulation": "bulk", "network": {"channels": [16, 16]}, "steps": 2, "learning_rate": 1e-6}
    keys = ("batch_size", "crop_px", "warmup_steps", "validation_scenes", "workers", "accelerator")
    settings |= {name: getattr(small(), name) for name in keys}
    (tmp_path / "fine.yaml").write_text(yaml.safe_dump(settings))
    done = cli(
        "train", tmp_path / "fine.yaml", "-o", tmp_path / "run", "--from", tmp_path / "tiny.v1",
        "--scenes", tmp_path / "own", "--model", tmp_path / "tiny.v2",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    old, new = load_model(tmp_path / "tiny.v1"), load_model(tmp_path / "tiny.v2")
    assert new.card.architecture == old.card.architecture
    assert new.sha256 != old.sha256
    kept = old.network.state_dict()
    for name, value in new.network.state_dict().items():
        if value.ndim > 1:
            assert torch.allclose(value, kept[name], atol=1e-5), name
    assert read_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt")["atomseg_config"]["scene_share"] == 0.5


def test_a_corrected_columns_csv_is_a_table(labelled, tmp_path):
    """Extra columns do not matter: columns.csv of a corrected result can be used as it is."""
    labelled("a", 1)
    path = tmp_path / "own" / "a.csv"
    pd.read_csv(path).assign(phase="R-3m").to_csv(path, index=False)
    assert len(read_labelled(tmp_path / "own" / "a.tif", path).columns) == len(pd.read_csv(path))

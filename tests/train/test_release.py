import subprocess
import sys

import pytest
import yaml

from atomseg.config import dump_config, load_train_config, shipped_configs
from atomseg.errors import ModelError, OutputError
from atomseg.imaging import CANONICAL_PIXEL_NM
from atomseg.networks import UNetConfig, check_golden, load_model
from atomseg.simulate import SceneConfig
from atomseg.train import TrainConfig, release, train
from atomseg.train.dataset import TRAINING, example_generator, make_example
from atomseg.train.scenes import TrainingScenes

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two steps on simulated scenes: settings, scenes and checkpoint."""
    config = TrainConfig(
        network=UNetConfig(channels=(6, 8), bottom_blocks=0),
        steps=2,
        batch_size=2,
        crop_px=64,
        warmup_steps=1,
        validation_scenes=2,
        validation_interval=2,
        checkpoint_interval=2,
        picture_interval=2,
        workers=0,
        accelerator="cpu",
    )
    simulation = SceneConfig()
    return config, simulation, train(config, simulation=simulation, output=tmp_path_factory.mktemp("run"))


def test_a_release_loads_reproduces_its_golden_outputs_and_says_how_it_was_made(run, tmp_path):
    config, simulation, checkpoint = run
    card = release(checkpoint, tmp_path / "unet.test", simulation=simulation, commit="abc", n_scenes=2)
    model = load_model(tmp_path / "unet.test")
    assert max(check_golden(model).values()) < 1e-4  # the same machine
    assert model.card == card
    assert (card.id, card.training.commit, card.training.steps, card.training.scenes) == ("unet.test", "abc", 2, 4)
    assert card.training.config["crop_px"] == 64
    assert card.training.simulation["scan"]["pixel_size_nm"] == list(simulation.scan.pixel_size_nm)
    assert card.training.seed == config.seed
    assert {"f1_50pm", "rmse_pm", "false_per_100nm2", "recall_snr_5_to_7"} <= set(card.accuracy)
    text = (tmp_path / "unet.test" / "README.md").read_text()
    assert card.sha256 in text
    assert f"| f1_50pm | {card.accuracy['f1_50pm']:g} |" in text
    assert sorted(p.name for p in tmp_path.iterdir()) == ["unet.test"]  # nothing half-written is left


def test_a_released_folder_is_not_overwritten(run, tmp_path):
    _, simulation, checkpoint = run
    (tmp_path / "unet.test").mkdir()
    with pytest.raises(OutputError, match="never changed"):
        release(checkpoint, tmp_path / "unet.test", simulation=simulation, commit="abc", n_scenes=1)


def test_a_missing_checkpoint_is_an_error(tmp_path):
    with pytest.raises(ModelError, match="no checkpoint"):
        release(tmp_path / "x.ckpt", tmp_path / "y.z", simulation=SceneConfig(), commit="abc")


@pytest.mark.parametrize("index", range(6))
def test_simulated_scenes_cover_a_crop(index):
    config = TrainConfig(crop_px=96)
    rng = example_generator(7, TRAINING, index)
    scene = TrainingScenes(SceneConfig(), config)(rng)
    low = 0.985 * config.smallest_pixel_nm  # the two axes differ by up to 1.5 % each
    assert all(low <= size <= 0.046 for size in scene.micrograph.calibration.pixel_size_nm)
    fields = [n * p for n, p in zip(scene.micrograph.shape, scene.micrograph.calibration.pixel_size_nm, strict=True)]
    assert min(fields) >= 96 * CANONICAL_PIXEL_NM
    assert make_example(scene, config, rng).image.shape == (1, 96, 96)


@pytest.mark.parametrize("name", ["laptop", "release-cpu", "gpu"])
def test_shipped_configurations_name_every_key(name):
    path = shipped_configs("train")[name]
    config, simulation = load_train_config(path)
    assert isinstance(simulation, SceneConfig)
    written = yaml.safe_load(path.read_text())
    complete = yaml.safe_load(dump_config(config))
    assert set(written) == set(complete) | {"simulation"}
    for key, value in complete.items():
        if isinstance(value, dict):
            assert set(written[key]) == set(value), key


def test_training_imports_no_reader_and_no_validation_library():
    """A GPU node needs torch and Lightning, not HyperSpy or pydantic."""
    blocked = ("hyperspy", "rsciio", "tifffile", "ase", "atomseg.config", "atomseg.io")
    code = f"import sys, atomseg.train; print([m for m in {blocked} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

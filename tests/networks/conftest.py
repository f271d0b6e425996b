"""A small random model folder, complete and valid."""

import hashlib

import numpy as np
import pytest
import torch
from safetensors.torch import save

from atomseg.imaging import NormalizeConfig
from atomseg.networks import ModelCard, TrainingRecord, UNet, UNetConfig, golden_outputs, write_card


@pytest.fixture
def make_model_folder(tmp_path):
    """Function that writes a model folder of that name and returns its path."""

    def make(name="tiny.t1", root=tmp_path / "models", seed=0):
        torch.manual_seed(seed)
        config = UNetConfig(channels=(6, 8), bottom_blocks=0)
        network = UNet(config).eval()
        weights = save(network.state_dict())
        training = TrainingRecord(
            config={"steps": 1},
            simulation={},
            begun_with="",
            seed=seed,
            steps=1,
            scenes=4,
            seconds=1.5,
            commit="0" * 40,
            version="0.0.0",
            device="cpu",
            packages={"torch": "2"},
            date="2026-01-01",
        )
        card = ModelCard(
            id=name,
            sha256=hashlib.sha256(weights).hexdigest(),
            architecture=config,
            normalization=NormalizeConfig(mean_sigma_nm=0.5),
            pixel_size_nm=0.025,
            valid_pixel_size_nm=(0.006, 0.045),
            heatmap_threshold=0.4,
            training=training,
            accuracy={"f1_50pm": 0.9},
            limits=("none",),
        )
        folder = root / name
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(weights)
        write_card(card, folder / "card.json")
        image = np.random.default_rng(seed).normal(size=(16, 16)).astype(np.float32)
        outputs = golden_outputs(network, image, torch.device("cpu"))
        np.savez(folder / "golden.npz", input=image, tolerance=1e-3, **outputs)
        return folder

    return make

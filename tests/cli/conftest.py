"""Small calibrated micrographs and a network that was never trained: enough for everything but the science."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from safetensors.torch import save
from typer.testing import CliRunner, Result

from atomseg.cli import app
from atomseg.imaging import NormalizeConfig
from atomseg.networks import UNetConfig
from atomseg.networks.card import ModelCard, TrainingRecord, write_card
from atomseg.networks.registry import CARD_FILE, DEFAULT_MODEL, WEIGHTS_FILE
from atomseg.networks.unet import UNet

PIXEL_NM = 0.02


@pytest.fixture(scope="session")
def untrained_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models that holds the default model's name with random weights: it sees no column anywhere."""
    home = tmp_path_factory.mktemp("models")
    folder = home / DEFAULT_MODEL
    folder.mkdir()
    architecture = UNetConfig()
    torch.manual_seed(0)
    content = save(UNet(architecture).state_dict())
    (folder / WEIGHTS_FILE).write_bytes(content)
    made = TrainingRecord(
        config={}, simulation={}, begun_with="",
            seed=0, steps=0, scenes=0, seconds=0.0, commit="0", version="0", device="cpu",
        packages={}, date="2026-01-01",
    )  # fmt: skip
    card = ModelCard(
        id=DEFAULT_MODEL, sha256=hashlib.sha256(content).hexdigest(), architecture=architecture,
        normalization=NormalizeConfig(), pixel_size_nm=0.025, valid_pixel_size_nm=(0.006, 0.045),
        heatmap_threshold=0.999, training=made, accuracy={}, limits=(),
    )  # fmt: skip
    write_card(card, folder / CARD_FILE)
    return home


@pytest.fixture
def write_tif() -> Callable[..., Path]:
    """Write a calibrated 16-bit TIFF of noise; the seed makes its content."""

    def write(
        path: Path, *, seed: int = 0, shape: tuple[int, ...] = (64, 72), pixel_nm: float | None = PIXEL_NM
    ) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        image = np.random.default_rng(seed).integers(100, 1000, shape, dtype=np.uint16)
        if pixel_nm is None:
            tifffile.imwrite(path, image)
        else:
            metadata = {"unit": "nm", "axes": "YX" if len(shape) == 2 else "TYX"}
            tifffile.imwrite(path, image, imagej=True, resolution=(1 / pixel_nm, 1 / pixel_nm), metadata=metadata)
        return path

    return write


@pytest.fixture(autouse=True)
def quick_figures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes most of the time of mapping a small image; one test does without this shortcut."""
    if request.function.__name__ != "test_one_file_gives_every_promised_file":
        files = {"overview.png": b"png", "overview.pdf": b"pdf"}
        monkeypatch.setattr("atomseg.report.figure_files", lambda record: files)


@pytest.fixture
def invoke(untrained_models: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run a command in this process."""
    monkeypatch.setenv("ATOMSEG_MODELS", str(untrained_models))

    def call(*arguments: object) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return call


@pytest.fixture
def launch(untrained_models: Path) -> Callable[[Sequence[object]], "subprocess.Popen[str]"]:
    """Start a command as a person does at a terminal, in a process of its own.

    What a shell runs in the background ignores Ctrl-C, and so would its children: the handler is set as at a terminal.
    """
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from atomseg.cli import main; main()"
    )

    def start(arguments: Sequence[object]) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "ATOMSEG_MODELS": str(untrained_models), "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )

    return start

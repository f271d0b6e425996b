"""What a person gets who installs atomseg without the checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from atomseg import __version__


def run(*command: str | Path, cwd: Path, env: dict[str, str] | None = None) -> str:
    """Output of a command that has to succeed."""
    words = [*map(str, command)]
    done = subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the checkout with the hatchling of this environment."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=repository)
    return next(folder.glob("atomseg-*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder into which nothing but the wheel was installed."""
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--no-compile", "--target", folder, wheel]
    run(*pip, cwd=folder)
    return folder


def files_of(wheel: Path) -> set[str]:
    """Names of all files in a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def tracked(repository: Path, folder: str) -> set[str]:
    """Files of a folder of the checkout, hidden and compiled ones left out."""
    paths = [p for p in (repository / folder).rglob("*") if p.is_file()]
    return {p.relative_to(repository).as_posix() for p in paths if p.suffix != ".pyc" and not p.name.startswith(".")}


def test_wheel_has_weights_and_configs(wheel: Path, repository: Path) -> None:
    files = files_of(wheel)
    models, configs = tracked(repository, "models"), tracked(repository, "configs")
    assert any(name.endswith("model.safetensors") for name in models), "the checkout has no model"
    assert {name.replace("models/", "atomseg/_models/", 1) for name in models} <= files
    assert {name.replace("configs/", "atomseg/_configs/", 1) for name in configs} <= files


def test_wheel_has_all_of_the_package_and_nothing_else(wheel: Path, repository: Path) -> None:
    files = files_of(wheel)
    assert tracked(repository, "atomseg") <= files
    assert "atomseg/py.typed" in files
    assert {name.split("/")[0] for name in files} == {"atomseg", f"atomseg-{__version__}.dist-info"}


def test_wheel_says_its_version_and_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read(f"atomseg-{__version__}.dist-info/METADATA").decode()
    assert f"\nVersion: {__version__}\n" in metadata
    assert "\nLicense-Expression: GPL-3.0-or-later\n" in metadata
    assert f"atomseg-{__version__}.dist-info/licenses/LICENSE" in files_of(wheel)


def test_installed_wheel_finds_its_models_from_anywhere(installed: Path, tmp_path: Path) -> None:
    code = (
        "import atomseg, atomseg.networks as networks\n"
        "model = networks.load_model(None, device='cpu')\n"
        "print(atomseg.__file__, networks.__file__, sep='\\n')\n"
        "print(model.card.id)\n"
    )
    env = {k: v for k, v in os.environ.items() if not k.startswith("ATOMSEG_")} | {"PYTHONPATH": str(installed)}
    places = run(sys.executable, "-P", "-c", code, cwd=tmp_path, env=env).splitlines()
    assert all(Path(place).is_relative_to(installed) for place in places[:2]), "another atomseg was imported"
    assert places[2]

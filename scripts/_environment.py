"""The virtual environment of this checkout: made once, repaired when it broke, left alone while it is up to date.

Standard library only, and no syntax newer than Python 3.6: an old Python must get as far as the line that refuses it.
"""

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

OLDEST_PYTHON = (3, 11)
ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".venv"
TORCH_INDEX_VARIABLE = "ATOMSEG_TORCH_INDEX"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"


def require_python() -> None:
    """Leave with one helpful line when this Python is too old; pip would say it in twenty."""
    if sys.version_info >= OLDEST_PYTHON:
        return
    newer = next((f"python3.{n}" for n in range(20, 10, -1) if shutil.which(f"python3.{n}")), None)
    seen = ".".join(map(str, sys.version_info[:3]))
    script = Path(sys.argv[0]).name
    cure = f"run: {newer} scripts/{script}" if newer else "get a newer one from https://www.python.org/downloads/"
    sys.exit(f"atomseg needs Python 3.11 or newer, and {sys.executable} is {seen}; {cure}")


# At import, because an old Python stumbles over the annotations below.
require_python()


class SetupError(Exception):
    """The environment can not be made; the text says why and what helps."""


def environment_python(folder: Path = FOLDER) -> Path:
    """Path of the Python inside a virtual environment."""
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def environment_command(name: str, folder: Path = FOLDER) -> Path:
    """Path of a command that was installed into a virtual environment."""
    return environment_python(folder).parent / (name + (".exe" if os.name == "nt" else ""))


def prepare(*, tests: bool = False, folder: Path = FOLDER) -> Path:
    """Make sure that atomseg is installed in the checkout's environment.

    Parameters
    ----------
    tests : bool
        Also install what the tests need; an environment for the tests serves the demo as well.
    folder : Path
        The virtual environment.

    Returns
    -------
    Path
        The environment's Python.

    Raises
    ------
    SetupError
        If the environment can not be made or pip fails.
    """
    done = _read(_stamp(folder))
    wanted = _wanted(tests=tests, done=done)
    reason = _rebuild_reason(folder, done, wanted)
    if not reason and done["pyproject"] == wanted["pyproject"] and set(wanted["extras"]) <= set(done["extras"]):
        return environment_python(folder)
    if reason:
        _make(folder, reason)
    _install(folder, wanted)
    return environment_python(folder)


def _stamp(folder: Path) -> Path:
    """File that says what was installed; written when all of it succeeded, absent while something is half done."""
    return folder / "atomseg-installed.json"


def _read(stamp: Path) -> dict:
    try:
        content = json.loads(stamp.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _wanted(*, tests: bool, done: dict) -> dict:
    """What the stamp says after a successful installation."""
    return {
        "pyproject": hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest(),
        "python": ".".join(map(str, sys.version_info[:3])),
        "checkout": str(ROOT),
        "extras": ["test"] if tests else [],
        # Said once is enough: the tests must not bring in another build of torch than the demo before them.
        "torch_index": os.environ.get(TORCH_INDEX_VARIABLE) or done.get("torch_index"),
    }


def _rebuild_reason(folder: Path, done: dict, wanted: dict) -> str:
    """Why the environment has to be made anew; empty when it can stay."""
    if not folder.exists():
        return "there is none yet"
    if not done:
        return "the last installation did not finish"
    for key, name in (("python", "Python"), ("checkout", "folder"), ("torch_index", "source of torch")):
        if done.get(key) != wanted[key]:
            return f"another {name}: it was {done.get(key)}, now {wanted[key]}"
    answer = subprocess.run([str(environment_python(folder)), "-c", ""], check=False) if _has_python(folder) else None
    return "" if answer is not None and answer.returncode == 0 else "its Python does not start"


def _has_python(folder: Path) -> bool:
    return environment_python(folder).exists()


def _make(folder: Path, reason: str) -> None:
    """Make an empty environment with pip in it."""
    say(f"Making the environment {_short(folder)} ({reason})")
    # Debian and Ubuntu ship venv without ensurepip; the pip of this Python can fill the environment as well.
    own_pip = importlib.util.find_spec("ensurepip") is not None
    try:
        venv.EnvBuilder(clear=True, with_pip=own_pip, symlinks=os.name != "nt").create(folder)
    except (OSError, subprocess.CalledProcessError) as error:
        raise SetupError(
            f"can not make a virtual environment in {folder}: {error}; is the folder writable, and the disk not full?"
        ) from error
    python = str(environment_python(folder))
    pip = [python, "-m", "pip"] if own_pip else [sys.executable, "-m", "pip", "--python", python]
    # The pip that comes with an older Python says nothing for the minutes that unpacking takes.
    _run([*pip, "install", "--upgrade", "--quiet", "pip"])


def _install(folder: Path, wanted: dict) -> None:
    """Install atomseg as the checkout has it, check that torch works, and only then write the stamp."""
    _stamp(folder).unlink(missing_ok=True)
    began = time.monotonic()
    tests = bool(wanted["extras"])
    say(f"Installing atomseg {'and what its tests need' if tests else ''}".rstrip() + "; the first time takes minutes")
    if wanted["torch_index"]:
        _pip(folder, "install", "torch", "torchvision", "--index-url", wanted["torch_index"])
    elif sys.platform.startswith("linux") and not shutil.which("nvidia-smi"):
        say(
            "No NVIDIA driver here, but pip may still fetch a torch with CUDA (several GB). To save that, stop with\n"
            f"  Ctrl-C and say: {TORCH_INDEX_VARIABLE}={CPU_INDEX} {_short(Path(sys.argv[0]).resolve())}"
        )
    target = str(ROOT) + ("[test]" if tests else "")
    _pip(folder, "install", "--editable", target)
    modules = ["torch", "torchvision"] if tests else ["torch"]
    if not _imports(folder, modules, show=False):
        _pair_torch(folder, target, modules, wanted["torch_index"])
    _stamp(folder).write_text(json.dumps(wanted, indent=2) + "\n", encoding="utf-8")
    say(f"Installed in {time.monotonic() - began:.0f} s")


def _pair_torch(folder: Path, target: str, modules: list[str], torch_index: str | None) -> None:
    """Replace torch and torchvision by two builds of one source.

    A wheel found through pip's ``find-links`` and one from the index satisfy each other's version numbers and still do
    not load together, so the search is left to the index alone.
    """
    say("torch and torchvision do not load together; installing both from one source")
    _pip(folder, "uninstall", "--yes", "torch", "torchvision")
    with tempfile.TemporaryDirectory() as empty:
        alone = {"PIP_FIND_LINKS": empty}  # an empty value would not hide one set in pip's configuration file
        if torch_index:
            _pip(folder, "install", "torch", "torchvision", "--index-url", torch_index, extra=alone)
        _pip(folder, "install", "--editable", target, extra=alone)
    if not _imports(folder, modules, show=True):
        raise SetupError(
            f"{' and '.join(modules)} can not be imported in {folder} (see above); delete that folder and say it "
            f"again, or name a source of matching builds, e.g. {TORCH_INDEX_VARIABLE}={CPU_INDEX}"
        )


def _imports(folder: Path, modules: list[str], *, show: bool) -> bool:
    """Whether modules can be imported in the environment, and show the traceback when asked."""
    command = [str(environment_python(folder)), "-c", "import " + ", ".join(modules)]
    return subprocess.run(command, check=False, stderr=None if show else subprocess.DEVNULL).returncode == 0


def _pip(folder: Path, *arguments: str, extra: dict | None = None) -> None:
    _run([str(environment_python(folder)), "-m", "pip", *arguments], extra=extra)


def _run(command: list[str], *, extra: dict | None = None) -> None:
    """Run pip with the user's own settings (index, proxy, certificates), its progress in view."""
    # A user-wide PIP_USER would refuse to install into an environment.
    settings = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_USER": "0", **(extra or {})}
    done = subprocess.run(command, env=settings, check=False, cwd=ROOT)
    if done.returncode:
        raise SetupError(
            f"pip failed (exit code {done.returncode}, its reason is above); say it again once the network, the disk "
            "space or the Python version is right: torch has no wheels for the very newest Pythons"
        )


def say(text: str) -> None:
    """Print a line about the set-up at once, also when the output is a file."""
    print(f"* {text}", flush=True)


def _short(path: Path) -> str:
    """Path as seen from the working folder where that is shorter."""
    relative = os.path.relpath(path) if path.anchor == Path.cwd().anchor else str(path)
    return min((relative, str(path)), key=len)

"""Help starts at once and tells everything."""

import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from atomseg import __version__
from atomseg.cli import app

COMMANDS = ("map", "report", "figure", "simulate", "train", "evaluate", "models")
# What takes seconds to import.
HEAVY = (
    "torch", "hyperspy", "rsciio", "matplotlib", "pandas", "scipy", "skimage", "lightning", "numpy", "dask",
    "distributed", "lifelines", "statsmodels",
)  # fmt: skip


def _fresh(code: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)


@pytest.mark.parametrize("arguments", [["--help"], *([command, "--help"] for command in COMMANDS), ["--version"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = f"""
import sys
from atomseg.cli import app
try:
    app({arguments!r}, standalone_mode=True)
except SystemExit as end:
    assert end.code == 0, end.code
print('loaded:', *[name for name in {HEAVY!r} if name in sys.modules])
"""
    assert _fresh(code).stdout.splitlines()[-1] == "loaded:"


def test_import_is_light() -> None:
    code = f"import sys, atomseg; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    assert _fresh(code).stdout.strip() == ""


def test_help_takes_less_than_a_second() -> None:
    code = "import sys; from atomseg.cli import main; sys.argv = ['atomseg', 'map', '--help']; main()"
    # Processor time, so that other work on the machine does not count; the best of three, so that a cold disk does not.
    spent = []
    for _ in range(3):
        before = os.times()
        _fresh(code)
        after = os.times()
        spent.append(after.children_user + after.children_system - before.children_user - before.children_system)
    assert min(spent) < 1.0


def test_every_command_is_listed() -> None:
    told = CliRunner().invoke(app, ["--help"])
    assert told.exit_code == 0
    assert all(f"  {command} " in told.output for command in COMMANDS)


def test_every_option_of_map_is_told() -> None:
    told = CliRunner().invoke(app, ["map", "--help"]).output
    options = (
        "-o", "--output", "--pixel-size-nm", "--model", "--config", "--set", "--device", "--workers", "--scheduler",
        "--frame", "--overwrite",
    )  # fmt: skip
    assert all(option in told for option in options)


def test_version() -> None:
    assert CliRunner().invoke(app, ["--version"]).output.strip() == f"atomseg {__version__}"


@pytest.mark.parametrize("arguments", [["paint"], ["map"], ["map", "x.tif"], ["map", "x.tif", "-o", "out", "--fast"]])
def test_unknown_commands_and_options_are_bad_usage(arguments: list[str]) -> None:
    assert CliRunner().invoke(app, arguments).exit_code == 2

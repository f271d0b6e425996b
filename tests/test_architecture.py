"""The house rules that no linter knows: import directions, sizes, names, and what an import costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from importlinter.api import read_configuration
from importlinter.application.use_cases import lint_imports

LONGEST_MODULE = 400
# Modules that may be longer, each with its reason.
LONG_MODULES: dict[str, str] = {}
LONGEST_FUNCTION = 60
SHAPELESS_NAMES = {"utils", "util", "helpers", "helper", "core", "common", "misc"}
# What takes seconds to import, and nobody needs to see a help text.
HEAVY = ("torch", "hyperspy", "rsciio", "matplotlib", "scipy", "skimage", "pandas", "ase", "lifelines", "statsmodels")


@pytest.fixture(scope="module")
def modules(repository: Path) -> list[Path]:
    """Every Python file of the package."""
    found = sorted((repository / "atomseg").rglob("*.py"))
    assert len(found) > 10, "the package was not found"
    return found


def heavy_imports(statement: str, python_path: Path) -> set[str]:
    """Heavy packages that a fresh interpreter has loaded after a statement."""
    code = f"{statement}\nimport sys\nprint(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=python_path, timeout=120
    )
    return set(done.stdout.split())


@pytest.fixture
def contracts(repository: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict]:
    """Import contracts of pyproject.toml by name."""
    monkeypatch.chdir(repository)
    return {contract["name"]: contract for contract in read_configuration("pyproject.toml")["contracts_options"]}


def test_import_contracts_hold(contracts: dict[str, dict], capsys: pytest.CaptureFixture[str]) -> None:
    assert len(contracts) >= 4
    kept = lint_imports(config_filename="pyproject.toml", cache_dir=None, no_logo=True)
    assert kept, capsys.readouterr().out


def test_every_part_of_the_package_has_a_layer(contracts: dict[str, dict], repository: Path) -> None:
    layers = contracts["Imports point down the pipeline"]["layers"]
    placed = {name.strip().removeprefix("atomseg.") for layer in layers for name in layer.split("|")}
    parts = {p.stem for p in (repository / "atomseg").iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    assert parts - {"__init__", "__main__", "_version"} == placed


def test_modules_are_short_enough_to_read(modules: list[Path], repository: Path) -> None:
    lengths = {
        path.relative_to(repository).as_posix(): len(path.read_text(encoding="utf-8").splitlines()) for path in modules
    }
    too_long = {name: n for name, n in lengths.items() if n > LONGEST_MODULE and name not in LONG_MODULES}
    assert not too_long, f"split these, or list them in LONG_MODULES with a reason: {too_long}"
    stale = [name for name in LONG_MODULES if lengths.get(name, 0) <= LONGEST_MODULE]
    assert not stale, f"no longer long, take them off LONG_MODULES: {stale}"


def test_functions_are_short_enough_to_read(modules: list[Path], repository: Path) -> None:
    too_long = {}
    for path in modules:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.end_lineno is not None:
                # The docstring, which grows with what the reader is told, does not count.
                has_text = isinstance(node.body[0], ast.Expr) and isinstance(node.body[0].value, ast.Constant)
                text = node.body[0].end_lineno - node.body[0].lineno + 1 if has_text else 0  # type: ignore[operator]
                if (length := node.end_lineno - node.lineno + 1 - text) > LONGEST_FUNCTION:
                    too_long[f"{path.relative_to(repository).as_posix()}:{node.name}"] = length
    assert not too_long, f"split these functions: {too_long}"


def test_modules_are_named_after_what_they_do(modules: list[Path], repository: Path) -> None:
    shapeless = [p for p in modules if SHAPELESS_NAMES & set(p.relative_to(repository).with_suffix("").parts)]
    assert not shapeless, f"name these after what they do: {shapeless}"


@pytest.mark.parametrize("module", ["atomseg", "atomseg.cli"])
def test_import_is_light(module: str, tmp_path: Path) -> None:
    assert not heavy_imports(f"import {module}", tmp_path)


def test_light_import_probe_sees_heavy_ones(tmp_path: Path) -> None:
    assert "scipy" in heavy_imports("import scipy", tmp_path)

"""The two commands of the README: what they install, when they do not, and what they print."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest


def load(path: Path) -> ModuleType:
    """A command of scripts/ as a module; commands have no suffix."""
    loader = SourceFileLoader(path.stem.strip("_"), str(path))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


class Machine:
    """Stands in for venv, pip and the environment's Python: notes what is asked, and lets a test say what fails."""

    def __init__(self) -> None:
        self.made = 0
        self.pip: list[list[str]] = []
        self.pip_upgrades: list[list[str]] = []
        self.find_links: list[str | None] = []
        self.import_results: list[bool] = []
        self.fail_pip = False
        self.python_starts = True

    def create(self, folder: Path) -> None:
        """What venv.EnvBuilder(...).create does."""
        self.made += 1
        python = folder / "bin" / "python"
        python.parent.mkdir(parents=True, exist_ok=True)
        python.touch()

    def run(self, command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        """What subprocess.run does with pip and with the environment's Python."""
        code = 0
        if command[1:3] == ["-m", "pip"]:
            if command[-1] == "pip":
                self.pip_upgrades.append(command)
                return subprocess.CompletedProcess(command, 0)
            self.pip.append(command[3:])
            self.find_links.append(options["env"].get("PIP_FIND_LINKS"))  # type: ignore[attr-defined]
            code = int(self.fail_pip)
        elif command[1] == "-c" and command[2].startswith("import"):
            code = 0 if not self.import_results or self.import_results.pop(0) else 1
        elif not self.python_starts:
            code = 1
        return subprocess.CompletedProcess(command, code)


@pytest.fixture
def environment(repository: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = load(repository / "scripts" / "_environment.py")
    monkeypatch.setattr(module.os, "name", "posix")
    monkeypatch.delenv(module.TORCH_INDEX_VARIABLE, raising=False)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    return module


@pytest.fixture
def machine(environment: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Machine:
    fake = Machine()

    class Builder:
        def __init__(self, **options: bool) -> None:
            assert options["clear"]

        def create(self, folder: Path) -> None:
            fake.create(folder)

    monkeypatch.setattr(environment.venv, "EnvBuilder", Builder)
    monkeypatch.setattr(environment.subprocess, "run", fake.run)
    monkeypatch.setattr(environment.importlib.util, "find_spec", lambda name: object())
    return fake


@pytest.fixture
def prepare(environment: ModuleType, machine: Machine, tmp_path: Path) -> Callable[..., Path]:
    def call(*, tests: bool = False) -> Path:
        return environment.prepare(tests=tests, folder=tmp_path / "venv")

    return call


def test_first_run_installs_and_the_second_does_nothing(prepare: Callable[..., Path], machine: Machine) -> None:
    python = prepare()
    assert machine.made == 1
    assert [call[:2] for call in machine.pip] == [["install", "--editable"]]
    assert prepare() == python
    assert machine.made == 1
    assert len(machine.pip) == 1


def test_environment_of_the_tests_serves_the_demo_but_not_the_other_way(
    prepare: Callable[..., Path], machine: Machine
) -> None:
    prepare()
    prepare(tests=True)
    assert machine.made == 1, "extras are added to the environment that is there"
    assert machine.pip[-1][-1].endswith("[test]")
    prepare()
    assert len(machine.pip) == 2


def test_changed_dependencies_are_installed(
    prepare: Callable[..., Path],
    machine: Machine,
    environment: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    prepare()
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    stamp = tmp_path / "venv" / "atomseg-installed.json"
    done = json.loads(stamp.read_text())
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    stamp.write_text(json.dumps(done | {"checkout": str(tmp_path)}))
    prepare()
    assert machine.made == 1
    assert len(machine.pip) == 2


@pytest.mark.parametrize("change", [{"python": "3.11.0"}, {"checkout": "/elsewhere"}, {"torch_index": "https://x"}])
def test_environment_of_another_python_or_place_is_made_anew(
    prepare: Callable[..., Path],
    machine: Machine,
    environment: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    change: dict[str, str],
) -> None:
    prepare()
    if "torch_index" in change:
        monkeypatch.setenv(environment.TORCH_INDEX_VARIABLE, change["torch_index"])
    else:
        stamp = tmp_path / "venv" / "atomseg-installed.json"
        stamp.write_text(json.dumps(json.loads(stamp.read_text()) | change))
    prepare()
    assert machine.made == 2


def test_failed_installation_is_reported_and_done_over(
    prepare: Callable[..., Path], machine: Machine, environment: ModuleType
) -> None:
    machine.fail_pip = True
    with pytest.raises(environment.SetupError, match="pip failed"):
        prepare()
    machine.fail_pip = False
    prepare()
    assert machine.made == 2, "what a broken-off installation left behind can not be trusted"


def test_environment_whose_python_is_gone_is_made_anew(prepare: Callable[..., Path], machine: Machine) -> None:
    prepare()
    machine.python_starts = False
    prepare()
    assert machine.made == 2


def test_torch_source_is_used_first_and_remembered(
    prepare: Callable[..., Path], machine: Machine, environment: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(environment.TORCH_INDEX_VARIABLE, "https://cpu")
    prepare()
    monkeypatch.delenv(environment.TORCH_INDEX_VARIABLE)
    prepare(tests=True)
    assert machine.made == 1
    first = ["install", "torch", "torchvision", "--index-url", "https://cpu"]
    assert [machine.pip[0], machine.pip[2]] == [first, first]


def test_builds_of_torch_that_do_not_match_are_replaced(prepare: Callable[..., Path], machine: Machine) -> None:
    machine.import_results = [False, True]
    prepare(tests=True)
    assert machine.pip[1] == ["uninstall", "--yes", "torch", "torchvision"]
    assert machine.pip[2][:2] == ["install", "--editable"]
    assert machine.find_links[0] is None
    assert machine.find_links[2], "wheels lying about are out of the search the second time"


def test_torch_that_never_loads_is_an_error(
    prepare: Callable[..., Path], machine: Machine, environment: ModuleType, tmp_path: Path
) -> None:
    machine.import_results = [False, False]
    with pytest.raises(environment.SetupError, match="can not be imported"):
        prepare(tests=True)
    assert not (tmp_path / "venv" / "atomseg-installed.json").exists()


def test_pip_fills_the_environment_where_ensurepip_is_missing(
    prepare: Callable[..., Path], machine: Machine, environment: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment.importlib.util, "find_spec", lambda name: None)
    python = prepare()
    assert machine.pip_upgrades[0][:5] == [sys.executable, "-m", "pip", "--python", str(python)]


def test_old_python_is_refused_in_one_line(environment: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment.sys, "version_info", (3, 9, 18, "final", 0))
    with pytest.raises(SystemExit, match=r"^atomseg needs Python 3.11 or newer, and .* is 3\.9\.18; [^\n]+$"):
        environment.require_python()


SUMMARY = {
    "phase_fractions": {"layered": 0.7512, "rocksalt": 0.2, "o1": 0.0, "unresolved": 0.0488},
    "thickness": {
        "mean_nm": 3.04, "lower_nm": 2.71, "upper_nm": 3.36, "censored": False, "lower_bound_nm": None, "class": "thin",
    },
    "warnings": ["a sentence"],
}  # fmt: skip


@pytest.fixture
def demo(repository: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(repository / "scripts"))
    return load(repository / "scripts" / "demo")


def test_demo_shows_phases_and_thickness(demo: ModuleType) -> None:
    assert demo.table_row("a", SUMMARY) == ("a", "75.1", "20.0", "0.0", "4.9", "3.0 (2.7 to 3.4)", "thin", "1")


def test_demo_tells_surfaces_of_different_classes_one_by_one(demo: ModuleType) -> None:
    thin = SUMMARY["thickness"]
    thick = thin | {"mean_nm": 22.4, "lower_nm": 21.9, "upper_nm": 23.0, "class": "thick"}  # type: ignore[operator]
    both = thin | {"mean_nm": 13.0, "class": "intermediate", "surfaces": [thin, thick]}  # type: ignore[operator]
    row = demo.table_row("a", SUMMARY | {"thickness": both})
    assert row[5:7] == ("3.0 (2.7 to 3.4) | 22.4 (21.9 to 23.0)", "thin | thick")
    alike = demo.table_row("a", SUMMARY | {"thickness": both | {"surfaces": [thin, thin]}})
    assert alike[5:7] == ("13.0 (2.7 to 3.4)", "intermediate")


@pytest.mark.parametrize(
    ("thickness", "text"),
    [
        (None, "no surface"),
        (SUMMARY["thickness"] | {"censored": True, "lower_bound_nm": 21.4}, "at least 21.4"),  # type: ignore[operator]
        (SUMMARY["thickness"] | {"mean_nm": None}, "not measured"),  # type: ignore[operator]
    ],
)
def test_demo_never_shows_a_number_that_is_not_one(demo: ModuleType, thickness: dict | None, text: str) -> None:
    assert demo.thickness_text(thickness) == text


def test_demo_table_is_aligned(demo: ModuleType) -> None:
    lines = demo.format_table([demo.HEADER, demo.table_row("a long name", SUMMARY)]).splitlines()
    assert len({len(line) for line in lines}) == 1


def test_demo_reports_results_and_failures(
    demo: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = [tmp_path / "thin.tif", tmp_path / "b.tif"]
    output = tmp_path / "out"
    (output / "thin").mkdir(parents=True)
    (output / "thin" / "summary.json").write_text(json.dumps(SUMMARY))
    lines = ["file,folder,status,reason", f"{samples[0]},thin,skipped,", f"{samples[1]},b,failed,cut short"]
    (output / "summary.csv").write_text("\n".join([*lines, f"{tmp_path / 'other.tif'},other,failed,not ours"]))
    demo.report(samples, output)
    printed = capsys.readouterr().out
    assert "\nthin: a sentence\n" in printed
    assert "\nb failed: cut short\n" in printed
    assert "not ours" not in printed
    assert f"  {output / 'thin' / 'overview.png'}\n" in printed


def test_checks_all_run_even_if_one_fails(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(repository / "scripts"))
    command = load(repository / "scripts" / "test")
    codes = {"fails": 3, "pytest": 0}
    monkeypatch.setattr(command, "prepare", lambda tests: None)
    monkeypatch.setattr(
        command,
        "checks",
        lambda words: [(name, [sys.executable, "-c", f"raise SystemExit({code})"]) for name, code in codes.items()],
    )
    assert command.main([]) == 1
    printed = capsys.readouterr().out
    assert "=== fails: FAILED" in printed
    assert "=== pytest" in printed
    codes["fails"] = 0
    assert command.main([]) == 0

"""The documentation names what the code writes, and its links lead somewhere."""

import re
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import pytest

from atomseg._version import __version__
from atomseg.batch.table import SUMMARY_FIELDS
from atomseg.types import ColumnFlag, Phase, ThicknessSummary
from atomseg.types.columns import LOCALIZATION_FIELDS
from atomseg.types.lattice import DEPTH_PROFILE_FIELDS, DISLOCATION_FIELDS, LATTICE_FIELDS
from atomseg.types.phases import PHASE_FIELDS
from atomseg.types.reconstruction import FAULT_FIELDS, MEASURED_FIELDS, PROFILE_FIELDS

PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs")


@pytest.fixture(scope="module")
def outputs(repository: Path) -> str:
    return (repository / "docs" / "outputs.md").read_text(encoding="utf-8")


def pages(repository: Path) -> list[Path]:
    """Every Markdown page of the project."""
    return [p for name in PAGES for p in ([repository / name] if "." in name else (repository / name).rglob("*.md"))]


def section(text: str, title: str) -> str:
    """Text below a second-level heading, up to the next one."""
    found = re.search(rf"^## {re.escape(title)}[^\n]*\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"no section {title}"
    return found[1]


@pytest.mark.parametrize(
    ("title", "names"),
    [
        ("columns.csv", (*LOCALIZATION_FIELDS, *PHASE_FIELDS, "depth_nm")),
        ("thickness.csv", (*PROFILE_FIELDS, *MEASURED_FIELDS)),
        ("faults.csv", FAULT_FIELDS),
        ("lattice.csv", LATTICE_FIELDS),
        ("dislocations.csv", DISLOCATION_FIELDS),
        ("depth_profile.csv", DEPTH_PROFILE_FIELDS),
        ("summary.csv", SUMMARY_FIELDS),
        ("summary.json", [f.name.replace("thickness_class", "class") for f in fields(ThicknessSummary)]),
    ],
)
def test_every_column_of_every_table_is_explained(outputs: str, title: str, names: Sequence[str]) -> None:
    text = section(outputs, title)
    assert not [name for name in names if f"`{name}`" not in text]


def test_every_flag_is_explained_with_its_bit(outputs: str) -> None:
    missing = [flag for flag in ColumnFlag if flag and f"| `{flag.name.lower()}` | {flag.value} |" not in outputs]
    assert not missing


def test_every_phase_code_is_explained(repository: Path) -> None:
    text = (repository / "docs" / "conventions.md").read_text(encoding="utf-8")
    assert not [phase for phase in Phase if f"| {phase.value} | {phase.label} | `{phase.key}` |" not in text]


def test_links_lead_to_files(repository: Path) -> None:
    broken = []
    for page in pages(repository):
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
            if "://" not in target and not (page.parent / target).exists():
                broken.append(f"{page.name}: {target}")
    assert not broken


def test_citation_and_changelog_know_the_version(repository: Path) -> None:
    assert f"\nversion: {__version__}\n" in (repository / "CITATION.cff").read_text(encoding="utf-8")
    assert f"## [{__version__}]" in (repository / "CHANGELOG.md").read_text(encoding="utf-8")

"""docs/cohort.md explains every column, outcome and option."""

import re
from pathlib import Path

import pytest

from atomseg.cohort import CohortConfig
from atomseg.cohort.outcomes import UNITS
from atomseg.cohort.tables import COHORT_FIELDS, DIFFERENCE_FIELDS


@pytest.fixture(scope="module")
def page(repository: Path) -> str:
    return (repository / "docs" / "cohort.md").read_text(encoding="utf-8")


def section(text: str, title: str) -> str:
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"no section {title}"
    return found[1]


@pytest.mark.parametrize(
    ("title", "names"),
    [("cohort.csv", COHORT_FIELDS), ("cohort_differences.csv", DIFFERENCE_FIELDS), ("What is computed", tuple(UNITS))],
)
def test_every_column_and_outcome_is_explained(page: str, title: str, names: tuple[str, ...]) -> None:
    assert not [name for name in names if f"`{name}`" not in section(page, title)]


def test_the_numbers_in_words_are_the_defaults(page: str) -> None:
    config = CohortConfig()
    assert f"**Intervals** ({100 * config.level:.0f} %)" in page
    assert f"exact up to {config.permutations // 1000} 000 rearrangements" in page
    assert config.least_particles == 3
    assert "Below three particles" in page


def test_the_example_in_python_runs(page: str, tmp_path: Path, write_result, monkeypatch) -> None:
    for particle in "abc":
        write_result(tmp_path / "results" / "SC" / particle / "1", [2.0, 3.0, 4.0])
    monkeypatch.chdir(tmp_path)
    code = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert code
    told: dict[str, object] = {}
    exec(code[1], told)
    assert [group.group for group in told["statistics"].groups] == ["SC"]  # type: ignore[attr-defined]

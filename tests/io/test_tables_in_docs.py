"""The recipes of docs/how-to.md find in columns.csv what they find in memory."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from atomseg.io import columns_table, write_analysis
from atomseg.types import AnalysisRecord, Columns


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("flags", [[0, 1, 9, 32], [0, 0, 0, 0], [1, 1, 1, 1]])
def test_columns_without_a_flag_are_found_in_the_file(
    record: AnalysisRecord, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: list[int]
) -> None:
    deep = dataclasses.replace(record.thickness, depth_nm=np.full_like(record.thickness.depth_nm, 7.0))
    localized = Columns(record.localized.table.assign(flags=flags))
    record = dataclasses.replace(record, localized=localized, thickness=deep)
    write_analysis(record, tmp_path / "results" / "particle_07")
    monkeypatch.chdir(tmp_path)
    page = (repository / "docs" / "how-to.md").read_text(encoding="utf-8")
    recipe = next(code for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "columns.csv" in code)
    told: dict[str, object] = {}
    exec(recipe, told)
    in_memory = columns_table(record).query("phase == 'R-3m' and depth_nm > 5 and flags == ''")
    assert list(told["bulk"]["id"]) == list(in_memory["id"])  # type: ignore[index]
    assert len(in_memory) == flags.count(0) - flags[1:].count(0)  # the first column is the only layered one

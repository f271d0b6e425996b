"""Micrographs side by side."""

import pytest
from matplotlib.figure import Figure

from atomseg.report.comparison import comparison_figure
from atomseg.types import AnalysisRecord


def _texts(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")))


def test_each_column_says_what_was_measured(record: AnalysisRecord, without_surface: AnalysisRecord) -> None:
    figure = comparison_figure([record, without_surface], ["with", "without"])
    assert len(figure.axes) == 4
    told = _texts(figure)
    summary = record.thickness.summary
    assert summary is not None
    assert f"{summary.mean_nm:.1f} nm mean" in told
    assert "no surface in view" in told
    assert "a  with" in told
    assert "b  without" in told
    assert "rocksalt" in told


def test_titles_must_fit(record: AnalysisRecord) -> None:
    with pytest.raises(ValueError, match="1 micrographs and 2 titles"):
        comparison_figure([record], ["one", "two"])

"""A micrograph as a figure for a paper, drawn from its result folder by `atomseg figure`."""

import dataclasses
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from PIL import Image
from typer.testing import CliRunner, Result

from atomseg.cli import app
from atomseg.io import write_analysis
from atomseg.report.paper import WIDTH_IN, paper_figure
from atomseg.types import AnalysisRecord

POINTS_AN_INCH = 72.0


def _draw(*words: object) -> Result:
    return CliRunner().invoke(app, ["figure", *map(str, words)])


@pytest.fixture
def result(record: AnalysisRecord, tmp_path: Path) -> Path:
    write_analysis(record, tmp_path / "edge")
    return tmp_path / "edge"


@pytest.mark.parametrize("several", [False, True])
def test_a_pdf_is_as_wide_as_a_page_and_brings_its_fonts(result: Path, tmp_path: Path, several: bool) -> None:
    assert _draw(*[result] * (3 if several else 1), "-o", tmp_path / "f.pdf").exit_code == 0
    pdf = (tmp_path / "f.pdf").read_bytes()
    box = re.search(rb"/MediaBox \[ ?([\d. ]+)\]", pdf)
    assert box
    width, height = (float(v) for v in box[1].split()[2:])
    assert width == pytest.approx(183 / 25.4 * POINTS_AN_INCH, abs=1.0)  # two columns, 183 mm
    assert height < 9.5 * POINTS_AN_INCH  # a page with room for the caption
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf


def test_an_svg_needs_no_font_and_no_network(result: Path, tmp_path: Path) -> None:
    assert _draw(result, "-o", tmp_path / "f.svg").exit_code == 0
    svg = ET.parse(tmp_path / "f.svg").getroot()
    assert not [node for node in svg.iter() if node.tag.endswith("}text")]
    links = [v for node in svg.iter() for k, v in node.attrib.items() if k.endswith("href")]
    assert any(link.startswith("data:image/png") for link in links)  # the micrograph is inside
    assert all(link.startswith(("data:", "#")) for link in links)
    assert svg.attrib["width"] == f"{WIDTH_IN * POINTS_AN_INCH}pt"


def test_a_png_has_what_journals_ask_for_and_is_the_same_each_time(result: Path, tmp_path: Path) -> None:
    for name in "ab":
        assert _draw(result, "-o", tmp_path / f"{name}.png").exit_code == 0
    with Image.open(tmp_path / "a.png") as image:
        assert image.width == round(600 * WIDTH_IN)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("-o", "f.gif"), "has to end with .pdf, .svg or .png"),
        (("-o", "f.pdf", "--title", "one", "--title", "two"), "2 times --title for 1 results"),
    ],
)
def test_mistakes_are_told(result: Path, words: tuple[str, ...], told: str) -> None:
    found = _draw(result, *words)
    assert found.exit_code == 2
    assert told in found.output


def test_too_many_and_none_are_refused(result: Path, tmp_path: Path) -> None:
    assert "up to 4" in _draw(*[result] * 5, "-o", tmp_path / "f.pdf").output
    found = _draw(tmp_path, "-o", tmp_path / "f.pdf")
    assert found.exit_code == 1
    assert "holds no result" in found.output


def _texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]


def test_nothing_leaves_the_figure_and_bounds_are_bounds(record: AnalysisRecord) -> None:
    points = record.thickness.points.assign(event=0, upper_nm=float("nan"))
    summary = record.thickness.summary
    assert summary is not None
    bound = dataclasses.replace(
        summary, mean_nm=None, p05_nm=None, p95_nm=None, lower_bound_nm=12.3, censored=True, thickness_class=None
    )
    surfaces = dict.fromkeys((*record.thickness.surfaces, 6, 7, 8, 9, 10), bound)
    beyond = dataclasses.replace(record.thickness, points=points, summary=bound, surfaces=surfaces)
    figure = paper_figure(dataclasses.replace(record, thickness=beyond), "deep layer")
    told = _texts(figure)
    assert "a  deep layer" in told
    (lines,) = [text for text in told if "at least" in text]
    assert lines.splitlines()[0].endswith(": at least 12.3 nm, class not decided")
    assert lines.splitlines()[-1] == "and 2 more"
    assert "end of the layer" not in told  # no line of it is drawn
    drawn, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert 0.0 <= drawn.x0 < drawn.x1 <= width
    assert 0.0 <= drawn.y0 < drawn.y1 <= height


def test_odd_results_are_drawn(without_surface: AnalysisRecord, without_columns: AnalysisRecord) -> None:
    assert "no surface in view" in _texts(paper_figure(without_surface))
    paper_figure(without_columns).canvas.draw()

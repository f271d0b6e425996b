"""Several surfaces in one view are told and drawn one by one: pooled they make a layer that is nowhere."""

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from atomseg.io import read_analysis, write_analysis
from atomseg.report import comparison_figure, overview_figure, page_html, paper_figure, thickness_text
from atomseg.report.methods import methods_paragraph
from atomseg.report.style import SURFACE_COLORS
from atomseg.report.text import result_rows, surfaces_line
from atomseg.types import AnalysisRecord, Phase


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]


def legend(ax: Axes) -> list[str]:
    found = ax.get_legend()
    return [] if found is None else [text.get_text() for text in found.get_texts()]


def test_surfaces_that_differ_are_told_one_by_one_the_thickest_first(two_faces: AnalysisRecord) -> None:
    names = dict(result_rows(two_faces))
    assert [name for name in names if name.startswith("Surface ")] == ["Surface 1", "Surface 0"]
    assert names["Surface 1"].startswith("21.7 nm mean")
    assert names["Surface 1"].endswith("thick (p = 0.98)")
    assert not {"Thickness", "Class"} & set(names)
    assert thickness_text(two_faces).startswith("surface 1: 21.7 nm mean")
    assert surfaces_line(two_faces.thickness.surfaces) == "surface 1: 21.7 nm (thick), surface 0: 3.1 nm (thin)"
    for told in (*map("\n".join, map(texts, (overview_figure(two_faces), paper_figure(two_faces)))),
                 page_html(two_faces), methods_paragraph(two_faces)):  # fmt: skip
        assert "21.7 nm" in told
        assert "12.4 nm" not in told


def test_surfaces_that_are_alike_share_one_number(two_faces: AnalysisRecord) -> None:
    thick = two_faces.thickness.surfaces[1]
    alike = dataclasses.replace(two_faces.thickness, surfaces={0: thick, 1: thick})
    names = dict(result_rows(dataclasses.replace(two_faces, thickness=alike)))
    assert names["Thickness"].startswith("12.4 nm mean")


def test_many_surfaces_are_counted_and_the_thickest_is_never_lost(two_faces: AnalysisRecord) -> None:
    thin, thick = two_faces.thickness.surfaces.values()
    many = dataclasses.replace(two_faces.thickness, surfaces={**dict.fromkeys(range(8), thin), 8: thick})
    names = [name for name, _ in result_rows(dataclasses.replace(two_faces, thickness=many))]
    assert [name for name in names if name.startswith(("Surface ", "and "))] == [
        "Surface 8", "Surface 0", "Surface 1", "Surface 2", "and 5 more",
    ]  # fmt: skip


def test_each_surface_has_its_number_where_its_profile_begins(two_faces: AnalysisRecord) -> None:
    size = np.asarray(two_faces.micrograph.calibration.pixel_size_nm)
    side = min(two_faces.micrograph.shape) * size.min()
    for panel in paper_figure(two_faces).axes[:2]:
        found = {text.get_text(): text for text in panel.texts if text.get_text().isdecimal()}
        assert set(found) == {"0", "1"}
        for key, text in found.items():
            points = two_faces.thickness.points.query(f"surface_id == {key}").sort_values("s_nm")
            begin = points[["x_px", "y_px"]].to_numpy()[0] * size[::-1]
            # 7 % of the view into the crystal, and as far along the surface as the edge and the scale bar ask.
            assert np.hypot(*(np.asarray(text.get_position()) - begin)) < 0.4 * side
            patch = text.get_bbox_patch()
            assert patch is not None
            assert to_hex(patch.get_facecolor()) == SURFACE_COLORS[int(key)].lower()


def test_one_surface_needs_no_number(record: AnalysisRecord) -> None:
    assert not [text for text in texts(overview_figure(record)) if text in {"0", "1"} and not text]
    assert not [t for ax in paper_figure(record).axes[:2] for t in ax.texts if t.get_text().isdecimal()]


@pytest.mark.parametrize("several", [True, False])
def test_lower_bounds_are_called_that_whatever_ended_them(
    record: AnalysisRecord, two_faces: AnalysisRecord, several: bool
) -> None:
    one = dataclasses.replace(record, thickness=dataclasses.replace(
        record.thickness, points=record.thickness.points.assign(event=0)))  # fmt: skip
    shown = two_faces if several else one
    assert "lower bound" in legend(overview_figure(shown).axes[4])
    told = "\n".join(value for _, value in result_rows(shown))
    assert "lower bounds" in told
    assert "out of view" not in told
    assert "beyond the view" not in "\n".join(texts(overview_figure(shown)))


def test_nothing_in_the_paper_figure_is_drawn_over_something_else(two_faces: AnalysisRecord) -> None:
    figure = paper_figure(two_faces)
    figure.canvas.draw()
    boxes = {}
    for ax in figure.axes:
        bare = [text for text in ax.texts if text.get_text().startswith("surface")]
        boxes |= {f"text {text.get_text()}": text.get_window_extent() for text in (*bare, ax.title, ax.xaxis.label)}
        boxes |= {f"tick {k} {id(ax)}": label.get_window_extent() for k, label in enumerate(ax.get_xticklabels())}
        if (found := ax.get_legend()) is not None:
            boxes[f"legend {id(ax)}"] = found.get_window_extent()
    boxes |= {text.get_text(): text.get_window_extent() for text in figure.texts}
    boxes |= {f"legend {k}": found.get_window_extent() for k, found in enumerate(figure.legends)}
    boxes = {name: box for name, box in boxes.items() if box.width > 0}
    clash = [pair for pair in itertools.combinations(boxes, 2) if boxes[pair[0]].overlaps(boxes[pair[1]])]
    assert not clash
    plots = [ax.get_window_extent() for ax in figure.axes]
    outside = [box for name, box in boxes.items() if name in {t.get_text() for t in figure.texts} or name == "legend 0"]
    assert outside
    assert not [box for box in outside for plot in plots if box.overlaps(plot)]


def test_every_phase_that_is_drawn_is_in_the_legend(record: AnalysisRecord) -> None:
    labels = record.phases.labels.copy()
    labels[5, 5:15] = Phase.O1
    speck = dataclasses.replace(record, phases=dataclasses.replace(record.phases, labels=labels))
    assert 0.0 < speck.phases.fractions()["o1"] < 0.005
    found = legend(overview_figure(speck).axes[1])
    assert "O1 < 1%" in found
    assert "paler: less sure" in found


@pytest.mark.parametrize("draw", [paper_figure, lambda record: comparison_figure([record], ["a"])])
def test_the_first_panel_is_the_image_itself(record: AnalysisRecord, draw: object) -> None:
    flat = dataclasses.replace(record, restored=np.zeros_like(record.restored))
    figure = draw(flat)  # type: ignore[operator]
    assert np.ptp(np.asarray(figure.axes[0].images[0].get_array())) > 0
    assert "restored by the network" not in texts(figure)


def test_a_restored_picture_in_its_place_is_called_that(record: AnalysisRecord, tmp_path: Path) -> None:
    lost = dataclasses.replace(record, micrograph=dataclasses.replace(record.micrograph, path=str(tmp_path / "gone")))
    write_analysis(lost, tmp_path / "a")
    back = read_analysis(tmp_path / "a")
    assert back.input_lost
    for figure in (paper_figure(back), comparison_figure([back], ["a"]), overview_figure(back)):
        assert "restored by the network" in texts(figure)
    assert not record.input_lost


def test_the_comparison_names_the_surfaces_as_the_profile_does(two_faces: AnalysisRecord) -> None:
    told = "\n".join(texts(comparison_figure([two_faces], ["a"])))
    assert told.index("surface 1: thick (p = 0.98)\n21.7 nm mean") < told.index(
        "surface 0: thin (p = 0.99)\n3.1 nm mean"
    )


def test_warnings_never_leave_the_page(record: AnalysisRecord) -> None:
    long = tuple(f"{k} " + "a sentence that goes on for more than one line of the panel, as many of them do " * 2
                 for k in range(9))  # fmt: skip
    figure = overview_figure(dataclasses.replace(record, warnings=long))
    assert any(text.startswith("and ") and text.endswith("more, see summary.json") for text in texts(figure))
    assert all(text.get_window_extent().y0 >= 0.0 for text in figure.axes[5].texts)

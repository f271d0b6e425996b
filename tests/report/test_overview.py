"""The overview figure says what the result says, for every kind of result."""

import dataclasses
import io
import sys
from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from atomseg.report import figure_bytes, figure_files, overview_figure
from atomseg.report.layers import shrink
from atomseg.report.overview import zoom_window_nm
from atomseg.report.panels import DISPLAY_PX, extent_nm, round_length, stride
from atomseg.types import AnalysisRecord, Check, Phase, Verdict

Enlarge = Callable[[int], AnalysisRecord]


def _texts(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")))


def test_the_figure_carries_the_numbers(record: AnalysisRecord) -> None:
    figure = overview_figure(record)
    told = _texts(figure)
    summary = record.thickness.summary
    assert summary is not None
    assert summary.mean_nm is not None
    assert f"{summary.mean_nm:.1f} nm mean" in told
    assert str(len(record.localized)) in told
    assert "25.00 pm" in told
    assert f"rocksalt {record.phases.fractions()['rocksalt']:.0%}" in told
    assert len(figure.axes) == 7  # six panels and a colour bar
    assert sum("nm" in text.get_text() for ax in figure.axes[:4] for text in ax.texts) == 4  # four scale bars


def test_columns_are_drawn_where_they_are(record: AnalysisRecord) -> None:
    (panel, *_) = overview_figure(record).axes
    drawn = np.concatenate([np.asarray(dots.get_offsets()) for dots in panel.collections])
    assert len(drawn) == len(record.localized)
    expected = record.localized.yx_nm[:, ::-1]
    # Grouped by phase, so compared as sets.
    assert np.allclose(np.sort(drawn[:, 0]), np.sort(expected[:, 0]))
    assert np.allclose(np.sort(drawn[:, 1]), np.sort(expected[:, 1]))


def test_image_and_columns_share_one_frame(record: AnalysisRecord) -> None:
    left, right, bottom, top = extent_nm(record)
    size_y, size_x = record.micrograph.calibration.pixel_size_nm
    height, width = record.micrograph.shape
    # The centre of the first pixel is (0, 0), that of the last one is (H - 1, W - 1) pixels away.
    assert (left, top) == (-0.5 * size_x, -0.5 * size_y)
    assert right - left == pytest.approx(width * size_x)
    assert bottom - top == pytest.approx(height * size_y)


def test_the_layer_end_lies_one_thickness_below_the_surface(record: AnalysisRecord) -> None:
    panel = overview_figure(record).axes[1]
    surface, end = (line.get_xydata() for line in panel.lines[:2])
    depths = np.hypot(*(np.asarray(end) - np.asarray(surface)).T)
    seen = record.thickness.points["thickness_nm"][record.thickness.points["event"] > 0]
    assert np.allclose(np.sort(depths[np.isfinite(depths)]), np.sort(seen), atol=1e-6)
    # It lies in the crystal, not outside it.
    size = record.micrograph.calibration.pixel_size_nm
    rows = np.clip(np.rint(np.asarray(end)[:, 1] / size[0]), 0, record.micrograph.shape[0] - 1)
    cols = np.clip(np.rint(np.asarray(end)[:, 0] / size[1]), 0, record.micrograph.shape[1] - 1)
    inside = np.isfinite(rows) & np.isfinite(cols)
    labels = record.phases.labels[rows[inside].astype(int), cols[inside].astype(int)]
    assert (labels != Phase.NONE).mean() > 0.95


def test_no_surface(without_surface: AnalysisRecord) -> None:
    told = _texts(overview_figure(without_surface))
    assert "no surface in view" in told
    assert "end of the layer" not in told


def test_no_columns(without_columns: AnalysisRecord) -> None:
    told = _texts(overview_figure(without_columns))
    assert "no crystal found" in told
    assert "not measurable here" in told


def test_a_result_that_is_not_judged_says_why(without_surface: AnalysisRecord) -> None:
    reason = "the columns are not the lattice of a layered oxide"
    unresolved = np.where(without_surface.phases.labels > 0, Phase.UNRESOLVED, Phase.NONE).astype(np.uint8)
    record = dataclasses.replace(
        without_surface,
        phases=dataclasses.replace(without_surface.phases, labels=unresolved),
        checks=(Check("lattice", None, Verdict.STOP, reason),),
    )
    told = _texts(overview_figure(record))
    assert reason in told.replace("\n", " ")
    assert "unresolved 100 %" in told.replace("100.0", "100").replace("100%", "100 %")


def test_censored_points_are_arrows(record: AnalysisRecord) -> None:
    points = record.thickness.points.assign(event=0, upper_nm=np.nan)
    censored = dataclasses.replace(record, thickness=dataclasses.replace(record.thickness, points=points))
    profile = overview_figure(censored).axes[4]
    assert any("uparrow" in str(line.get_marker()) for line in profile.lines)
    # No interval is drawn where there is no upper end.
    bands = [path for band in profile.collections for path in band.get_paths()]
    assert all(len(path.vertices) == 0 for path in bands)


def test_a_tiny_image(record: AnalysisRecord) -> None:
    part = slice(0, 32)
    tiny = dataclasses.replace(
        record,
        micrograph=dataclasses.replace(
            record.micrograph, image=record.micrograph.image[part, part].copy(), invalid=None
        ),
        restored=record.restored[part, part],
        phases=dataclasses.replace(
            record.phases,
            labels=record.phases.labels[part, part],
            confidence=record.phases.confidence[part, part],
            occupancy=record.phases.occupancy[part, part],
        ),
    )
    left, right, bottom, top = zoom_window_nm(tiny)
    assert (right - left, bottom - top) == pytest.approx((32 * 0.025, 32 * 0.025))
    assert figure_bytes(overview_figure(tiny), "png")


def test_a_large_image_is_shown_smaller(enlarged: Enlarge) -> None:
    figure = overview_figure(enlarged(8))
    for panel in figure.axes[:2]:
        assert all(max(image.get_array().shape[:2]) <= DISPLAY_PX for image in panel.images)


def test_shrinking_keeps_the_mean() -> None:
    image = np.random.default_rng(0).random((2 * DISPLAY_PX, 2 * DISPLAY_PX), dtype=np.float32)
    shown = shrink(image, stride(image.shape))
    assert shown.shape == (DISPLAY_PX, DISPLAY_PX)
    assert shown.mean() == pytest.approx(image.mean(), abs=1e-5)  # float32 sums


@pytest.mark.parametrize(
    ("target", "length"), [(4.0, 2.0), (5.0, 5.0), (1.99, 1.0), (0.7, 0.5), (0.2, 0.2), (60.0, 50.0)]
)
def test_scale_bars_have_round_lengths(target: float, length: float) -> None:
    assert round_length(target) == pytest.approx(length)


def test_files_open_and_are_the_same_each_time(record: AnalysisRecord) -> None:
    files, figure = figure_files(record), overview_figure(record)
    assert files == {f"overview.{kind}": figure_bytes(figure, kind) for kind in ("png", "pdf")}
    with Image.open(io.BytesIO(files["overview.png"])) as picture:
        assert picture.size == (2399, 1350)  # 13.33 x 7.5 inches at 180 dpi
    assert files["overview.pdf"].startswith(b"%PDF")


def test_drawing_leaves_no_state_behind(record: AnalysisRecord) -> None:
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    figure_bytes(overview_figure(record), "png")
    assert dict(mpl.rcParams) == before
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()

"""The figure for a talk: image with columns, zoom, phase map, occupancy, thickness profile, numbers."""

import io
import textwrap
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from atomseg.report.maps_figure import maps_figure
from atomseg.report.panels import (
    draw_columns,
    draw_layer_end,
    draw_micrograph,
    draw_occupancy,
    draw_phases,
    draw_surface,
    extent_nm,
    hide_frame,
    keep_view,
    phase_legend,
    scale_bar,
    show_image,
)
from atomseg.report.profile import draw_profile, nothing_here
from atomseg.report.style import STYLE
from atomseg.report.text import result_rows, warning_lines
from atomseg.types import AnalysisRecord, Phase

_WIDTH_IN, _HEIGHT_IN = 13.33, 7.5  # the slide of every presentation program
_PNG_DPI = 180
_ZOOM_NM = 5.0
_MOST_LINES = 5
# Height of a line of a warning and the end of the page, in heights of the panel.
_WARNING_LINE, _LOWEST = 0.046, -0.19


def overview_figure(record: AnalysisRecord) -> Figure:
    """Everything that a person wants to see of one micrograph on one slide.

    Parameters
    ----------
    record : AnalysisRecord
        The result; it may have no columns, no judged phases or no surface.

    Returns
    -------
    matplotlib.figure.Figure
        13.33 x 7.5 inches, free of any pyplot state.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(_WIDTH_IN, _HEIGHT_IN), facecolor="white")
        grid = figure.add_gridspec(
            2, 3, left=0.03, right=0.955, bottom=0.075, top=0.905, wspace=0.1, hspace=0.22, height_ratios=(1.4, 1.0)
        )
        axes = [figure.add_subplot(grid[row, column]) for row in range(2) for column in range(3)]
        figure.text(0.03, 0.955, record.micrograph.name, fontsize=13, weight="bold", va="center")
        figure.text(0.97, 0.955, _origin(record), fontsize=7.5, color="0.4", va="center", ha="right")
        zoom = zoom_window_nm(record)
        _columns_panel(axes[0], record, zoom)
        _phases_panel(axes[1], record)
        _occupancy_panel(axes[2], record, figure)
        _zoom_panel(axes[3], record, zoom)
        axes[4].set_title("e  Reconstruction thickness")
        draw_profile(axes[4], record)
        _numbers_panel(axes[5], record)
    return figure


def figure_bytes(figure: Figure, kind: str) -> bytes:
    """A figure as the bytes of a ``png`` or ``pdf`` file, the same bytes each time."""
    buffer = io.BytesIO()
    metadata = {"CreationDate": None} if kind == "pdf" else {"Software": None}
    # Level 3 takes a third of the time of the default and gives files a tenth larger.
    quick: dict[str, Any] = {"pil_kwargs": {"compress_level": 3}} if kind == "png" else {}
    with mpl.rc_context(STYLE):
        figure.savefig(buffer, format=kind, dpi=_PNG_DPI, metadata=metadata, **quick)
    return buffer.getvalue()


def figure_files(record: AnalysisRecord) -> dict[str, bytes]:
    """The figures as the files that go beside the tables."""
    figure = overview_figure(record)
    files = {"overview.png": figure_bytes(figure, "png"), "overview.pdf": figure_bytes(figure, "pdf")}
    return files if record.lattice is None else files | {"maps.png": figure_bytes(maps_figure(record), "png")}


def zoom_window_nm(record: AnalysisRecord) -> tuple[float, float, float, float]:
    """(left, right, bottom, top) in nm of the part worth a closer look: the surface, else the middle of the columns."""
    left, right, bottom, top = extent_nm(record)
    side_x, side_y = min(_ZOOM_NM, right - left), min(_ZOOM_NM * 0.8, bottom - top)
    y, x = _zoom_centre_nm(record)
    x = float(np.clip(x, left + side_x / 2, right - side_x / 2))
    y = float(np.clip(y, top + side_y / 2, bottom - side_y / 2))
    return (x - side_x / 2, x + side_x / 2, y + side_y / 2, y - side_y / 2)


def _zoom_centre_nm(record: AnalysisRecord) -> tuple[float, float]:
    yx, codes = record.localized.yx_nm, record.phases.columns["phase"].to_numpy()
    rebuilt = np.isin(codes, (Phase.ROCKSALT, Phase.O1))
    points = record.thickness.points
    left, right, bottom, top = extent_nm(record)
    if len(points):
        size = np.asarray(record.micrograph.calibration.pixel_size_nm)
        middle = points[["y_px", "x_px"]].to_numpy(float) * size
        anchor = middle[np.argmin(np.hypot(*(middle - np.median(middle, axis=0)).T))]
    elif rebuilt.any():
        anchor = np.median(yx[rebuilt], axis=0)
    elif len(yx):
        anchor = np.median(yx, axis=0)
    else:
        anchor = np.array([(bottom + top) / 2, (left + right) / 2])
    if len(points) and len(yx):
        # A little inwards, towards the columns around: some vacuum to see the edge, the rest crystal.
        near = yx[np.hypot(*(yx - anchor).T) < _ZOOM_NM]
        inwards = near.mean(axis=0) - anchor if len(near) else np.zeros(2)
        anchor = anchor + 0.25 * _ZOOM_NM * inwards / max(float(np.hypot(*inwards)), 1e-9)
    return float(anchor[0]), float(anchor[1])


def _columns_panel(ax: Axes, record: AnalysisRecord, zoom: tuple[float, float, float, float]) -> None:
    ax.set_title("a  Image with atomic columns")
    draw_micrograph(ax, record)
    draw_columns(ax, record)
    draw_surface(ax, record)
    left, right, bottom, top = zoom
    ax.add_patch(
        Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor="white", linewidth=0.9, ls=(0, (3, 2)))
    )
    keep_view(ax, record)
    scale_bar(ax)


def _phases_panel(ax: Axes, record: AnalysisRecord) -> None:
    ax.set_title("b  Phases")
    show_image(ax, record.micrograph.image, record, dim=0.8)
    draw_phases(ax, record)
    draw_surface(ax, record)
    draw_layer_end(ax, record)
    keep_view(ax, record)
    phase_legend(ax, record)
    scale_bar(ax)


def _occupancy_panel(ax: Axes, record: AnalysisRecord, figure: Figure) -> None:
    ax.set_title("c  Interlayer occupancy")
    show_image(ax, record.micrograph.image, record, dim=0.6)
    shown = draw_occupancy(ax, record)
    keep_view(ax, record)
    if shown is None:
        ax.clear()
        ax.set_title("c  Interlayer occupancy")
        nothing_here(ax, "not measurable here")
        return
    bar = figure.colorbar(shown, ax=ax, fraction=0.046, pad=0.02, shrink=0.85)
    bar.set_label("TM on interlayer sites (fraction)", fontsize=7.5)
    bar.outline.set_linewidth(0.4)  # type: ignore[operator]
    scale_bar(ax)


def _zoom_panel(ax: Axes, record: AnalysisRecord, zoom: tuple[float, float, float, float]) -> None:
    ax.set_title("d  Restored image, dashed frame of a")
    left, right, bottom, top = zoom
    size_y, size_x = record.micrograph.calibration.pixel_size_nm
    rows = slice(max(0, round(top / size_y)), round(bottom / size_y) + 1)
    cols = slice(max(0, round(left / size_x)), round(right / size_x) + 1)
    part = record.restored[rows, cols]
    low, high = np.percentile(part, [1.0, 99.8])
    extent = (
        (cols.start - 0.5) * size_x,
        (cols.start + part.shape[1] - 0.5) * size_x,
        (rows.start + part.shape[0] - 0.5) * size_y,
        (rows.start - 0.5) * size_y,
    )
    ax.imshow(part, cmap="gray", vmin=low, vmax=max(high, low + 1e-12), extent=extent, interpolation="bicubic")
    ax.set_xlim(left, right)
    ax.set_ylim(bottom, top)
    hide_frame(ax)
    draw_columns(ax, record, scale=0.2)
    draw_surface(ax, record)
    ax.set_xlim(left, right)
    ax.set_ylim(bottom, top)
    scale_bar(ax)


def _numbers_panel(ax: Axes, record: AnalysisRecord) -> None:
    ax.set_title("f  Result")
    ax.set_axis_off()
    y, step = 0.97, 0.067
    for name, value in result_rows(record):
        lines = textwrap.wrap(value, 60) or [""]
        ax.text(0.0, y, name, va="top", color="0.4", transform=ax.transAxes)
        ax.text(0.19, y, "\n".join(lines), va="top", transform=ax.transAxes, linespacing=1.25)
        y -= step * (1 + 0.8 * (len(lines) - 1))
    warnings, y = warning_lines(record), y - 0.02
    for k, warning in enumerate(warnings):
        lines = textwrap.wrap(warning, 76, max_lines=_MOST_LINES, placeholder=" ...")
        left = len(warnings) - k
        # One more line has to fit below, to tell of those that do not.
        if y - _WARNING_LINE * (len(lines) + (left > 1)) < _LOWEST:
            ax.text(0.035, y, f"and {left} more, see summary.json", va="top", fontsize=7.0, transform=ax.transAxes)
            return
        ax.text(0.0, y, "!", va="top", weight="bold", color="#D55E00", transform=ax.transAxes)
        ax.text(0.035, y, "\n".join(lines), va="top", fontsize=7.0, transform=ax.transAxes, linespacing=1.2)
        y -= _WARNING_LINE * len(lines) + 0.02


def _origin(record: AnalysisRecord) -> str:
    """The end of the file's path: folders often carry the sample's name."""
    if record.micrograph.path is None:
        return ""
    parts = Path(record.micrograph.path).parts[-3:]
    return "/".join(part.strip("/\\") for part in parts)

"""A micrograph as a figure for a paper: image, phases, thickness profile, at the width of a journal page."""

import io

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from atomseg.report.panels import extent_nm, phase_handles, result_panel
from atomseg.report.profile import draw_profile
from atomseg.report.style import STYLE
from atomseg.report.text import surface_lines
from atomseg.types import AnalysisRecord

WIDTH_IN = 7.2  # two columns of a journal, 183 mm
FORMATS = ("pdf", "svg", "png")
_PNG_DPI = 600  # what journals ask of line art
_LEFT, _RIGHT, _GAP, _PROFILE = 0.01, 0.955, 0.02, 0.30
_HIGHEST_IN = 3.2
# Below the panels: a line of the legend, one of the text, and what the axis of the profile needs.
_LEGEND_IN, _TEXT_IN, _AXIS_IN, _TITLE_IN = 0.15, 0.11, 0.45, 0.3
_LEGEND_COLUMNS = 4


def paper_figure(record: AnalysisRecord, title: str = "") -> Figure:
    """One micrograph in three panels: the image, the same with its phases, thickness along the surface.

    Parameters
    ----------
    record : AnalysisRecord
        The result; it may have no surface or no judged phases. Where its input is gone, the restored image stands in
        for it and is called that.
    title : str
        Above the first panel.

    Returns
    -------
    matplotlib.figure.Figure
        7.2 inches wide, free of any pyplot state.
    """
    left, right, bottom, top = extent_nm(record)
    handles, told = phase_handles(record), surface_lines(record.thickness)
    rows = -(-len(handles) // _LEGEND_COLUMNS)
    columns = -(-len(handles) // max(rows, 1))
    below = max(_AXIS_IN, 0.12 + _LEGEND_IN * rows + _TEXT_IN * len(told))
    with mpl.rc_context(STYLE):
        side = WIDTH_IN * (_RIGHT - _LEFT - _PROFILE - 4 * _GAP) / 2
        panel = float(np.clip(side * (bottom - top) / (right - left), 1.4, _HIGHEST_IN))
        height = panel + below + _TITLE_IN
        figure = Figure(figsize=(WIDTH_IN, height), facecolor="white")
        low, high, width = below / height, (below + panel) / height, side / WIDTH_IN
        for k, name in enumerate((title or record.micrograph.name, "Phases")):
            ax = figure.add_axes((_LEFT + k * (width + _GAP), low, width, high - low))
            ax.set_title(f"{'ab'[k]}  {name}", fontsize=8)
            result_panel(ax, record, phases=k == 1)
        ax = figure.add_axes((_RIGHT - _PROFILE + _GAP, low, _PROFILE - _GAP, high - low))
        ax.set_title("c  Thickness", fontsize=8)
        draw_profile(ax, record, legend_columns=2)
        if handles:
            figure.legend(
                handles=handles,
                loc="upper left",
                bbox_to_anchor=(_LEFT, low),
                ncols=columns,
                fontsize=6.5,
                handlelength=1.0,
                columnspacing=1.0,
                borderaxespad=0.2,
            )
        lines = (below - 0.08 - _LEGEND_IN * rows) / height
        figure.text(_LEFT, lines, "\n".join(told), fontsize=6.0, va="top")
    return figure


def paper_bytes(figure: Figure, kind: str) -> bytes:
    """A figure as the bytes of one of `FORMATS`, fonts embedded (in the SVG as outlines); the same bytes each time."""
    buffer = io.BytesIO()
    metadata = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {"Software": None}}[kind]
    # Text as outlines: the same on a machine without the font.
    with mpl.rc_context({**STYLE, "svg.fonttype": "path", "svg.hashsalt": "atomseg"}):
        figure.savefig(buffer, format=kind, dpi=_PNG_DPI, metadata=metadata)
    return buffer.getvalue()

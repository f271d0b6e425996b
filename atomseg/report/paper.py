"""A micrograph as a figure for a paper: restored image, phases, thickness profile, at the width of a journal page."""

import io

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from atomseg.report.panels import (
    draw_layer_end,
    draw_phases,
    draw_surface,
    extent_nm,
    phase_legend,
    scale_bar,
    show_image,
)
from atomseg.report.profile import draw_profile
from atomseg.report.style import STYLE
from atomseg.report.text import class_text, summary_text
from atomseg.types import AnalysisRecord, ThicknessSummary

WIDTH_IN = 7.2  # two columns of a journal, 183 mm
FORMATS = ("pdf", "svg", "png")
_PNG_DPI = 600  # what journals ask of line art
_LEFT, _RIGHT, _GAP, _PROFILE = 0.01, 0.955, 0.02, 0.30
_HIGHEST_IN = 3.2
_MOST_LINES = 2


def paper_figure(record: AnalysisRecord, title: str = "") -> Figure:
    """One micrograph in three panels: restored image, the same with its phases, thickness along the surface.

    Parameters
    ----------
    record : AnalysisRecord
        The result; it may have no surface or no judged phases.
    title : str
        Above the first panel.

    Returns
    -------
    matplotlib.figure.Figure
        7.2 inches wide, free of any pyplot state.
    """
    left, right, bottom, top = extent_nm(record)
    with mpl.rc_context(STYLE):
        side = WIDTH_IN * (_RIGHT - _LEFT - _PROFILE - 4 * _GAP) / 2
        panel = float(np.clip(side * (bottom - top) / (right - left), 1.4, _HIGHEST_IN))
        figure = Figure(figsize=(WIDTH_IN, panel + 0.75), facecolor="white")
        high, low = 1.0 - 0.3 / (panel + 0.75), 0.45 / (panel + 0.75)
        width = side / WIDTH_IN
        images = [figure.add_axes((_LEFT + k * (width + _GAP), low, width, high - low)) for k in range(2)]
        for ax, letter, name in zip(images, "ab", (title or record.micrograph.name, "Phases"), strict=True):
            ax.set_title(f"{letter}  {name}", fontsize=8)
            show_image(ax, np.maximum(record.restored, 0.0), record, dim=0.8 if letter == "b" else 1.6)
            if letter == "b":
                draw_phases(ax, record)
                draw_layer_end(ax, record)
            draw_surface(ax, record)
            ax.set_xlim(left, right)
            ax.set_ylim(bottom, top)
            scale_bar(ax)
        phase_legend(images[1], record)
        ax = figure.add_axes((_RIGHT - _PROFILE + _GAP, low, _PROFILE - _GAP, high - low))
        ax.set_title("c  Thickness", fontsize=8)
        draw_profile(ax, record)
        images[0].text(0.0, -0.03, _told(record), fontsize=6.0, va="top", transform=images[0].transAxes)
    return figure


def _told(record: AnalysisRecord) -> str:
    """Thickness and class of each surface, as the profile names them."""
    surfaces = record.thickness.surfaces
    if not surfaces:
        return "no surface in view"
    names = [f"surface {key}: " if len(surfaces) > 1 else "" for key in surfaces]
    lines = [f"{name}{summary_text(s)}, {_class(s)}" for name, s in zip(names, surfaces.values(), strict=True)]
    more = [f"and {len(lines) - _MOST_LINES} more"] if len(lines) > _MOST_LINES else []
    return "\n".join([*lines[:_MOST_LINES], *more])


def _class(summary: ThicknessSummary) -> str:
    return "class not decided" if summary.thickness_class is None else class_text(summary)


def paper_bytes(figure: Figure, kind: str) -> bytes:
    """A figure as the bytes of one of `FORMATS`, fonts embedded (in the SVG as outlines); the same bytes each time."""
    buffer = io.BytesIO()
    metadata = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {"Software": None}}[kind]
    # Text as outlines: the same on a machine without the font.
    with mpl.rc_context({**STYLE, "svg.fonttype": "path", "svg.hashsalt": "atomseg"}):
        figure.savefig(buffer, format=kind, dpi=_PNG_DPI, metadata=metadata)
    return buffer.getvalue()

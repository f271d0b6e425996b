"""Several micrographs beside each other, as a paper shows them: restored image, phases, thickness."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from atomseg.report.panels import draw_layer_end, draw_phases, draw_surface, keep_view, scale_bar, show_image
from atomseg.report.style import PHASE_COLORS, STYLE
from atomseg.report.text import SMALLEST_SHARE, class_text, summary_text
from atomseg.types import AnalysisRecord, Phase, ThicknessSummary

_WIDTH_IN = 7.2  # two columns of a journal, 183 mm


def comparison_figure(records: Sequence[AnalysisRecord], titles: Sequence[str]) -> Figure:
    """One column a micrograph: its restored image, the same with its phases, and what was measured.

    Parameters
    ----------
    records : sequence of AnalysisRecord
        Up to four are legible at the width of a journal page.
    titles : sequence of str
        One for each.

    Returns
    -------
    matplotlib.figure.Figure
        7.2 inches wide, free of any pyplot state.

    Raises
    ------
    ValueError
        If there is not one title for each micrograph, or no micrograph.
    """
    if not records or len(records) != len(titles):
        raise ValueError(f"{len(records)} micrographs and {len(titles)} titles; give one title for each micrograph")
    n = len(records)
    side = _WIDTH_IN / n
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(_WIDTH_IN, 2 * side + 1.1), facecolor="white")
        grid = figure.add_gridspec(2, n, left=0.01, right=0.99, bottom=0.17, top=0.93, wspace=0.04, hspace=0.04)
        for k, (record, title) in enumerate(zip(records, titles, strict=True)):
            upper, lower = figure.add_subplot(grid[0, k]), figure.add_subplot(grid[1, k])
            upper.set_title(f"{'abcdefgh'[k]}  {title}", fontsize=8)
            _panel(upper, record, phases=False)
            _panel(lower, record, phases=True)
            lower.text(0.0, -0.04, _told(record), fontsize=6.5, va="top", transform=lower.transAxes, linespacing=1.3)
        there = [p for p in Phase if any(r.phases.fractions().get(p.key, 0.0) >= SMALLEST_SHARE for r in records)]
        handles = [Patch(facecolor=PHASE_COLORS[p], edgecolor="black", linewidth=0.4, label=p.label) for p in there]
        if handles:
            figure.legend(handles=handles, loc="lower center", ncols=len(handles), fontsize=7, handlelength=1.0)
    return figure


def _panel(ax: Axes, record: AnalysisRecord, *, phases: bool) -> None:
    show_image(ax, np.maximum(record.restored, 0.0), record, dim=0.8 if phases else 1.6)
    if phases:
        draw_phases(ax, record)
        draw_layer_end(ax, record)
    draw_surface(ax, record)
    keep_view(ax, record)
    scale_bar(ax)


def _told(record: AnalysisRecord) -> str:
    """Thickness and class of each surface, the thickest first."""
    if not record.thickness.surfaces:
        return "no surface in view"

    def depth(summary: ThicknessSummary) -> float:
        return summary.mean_nm if summary.mean_nm is not None else summary.lower_bound_nm or 0.0

    ordered = sorted(record.thickness.surfaces.values(), key=depth, reverse=True)
    return "\n".join(f"{summary_text(summary)}\n{class_text(summary)}" for summary in ordered)

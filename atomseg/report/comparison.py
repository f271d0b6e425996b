"""Several micrographs beside each other, as a paper shows them: image, phases, thickness."""

from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.figure import Figure

from atomseg.report.panels import less_sure_patch, phase_patch, result_panel
from atomseg.report.style import STYLE
from atomseg.report.text import class_text, summary_text
from atomseg.types import AnalysisRecord, Phase
from atomseg.types.reconstruction import by_thickness

_WIDTH_IN = 7.2  # two columns of a journal, 183 mm
_LEGEND_IN, _TEXT_IN, _TITLE_IN = 0.45, 0.115, 0.33
_MOST = 3  # surfaces that are told one by one


def comparison_figure(records: Sequence[AnalysisRecord], titles: Sequence[str]) -> Figure:
    """One column a micrograph: its image, the same with its phases, and what was measured.

    Where an input is gone, the restored image stands in for it and is called that.

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
    n, told = len(records), [_told(record) for record in records]
    side = _WIDTH_IN / n
    below = _LEGEND_IN + _TEXT_IN * max(text.count("\n") + 1 for text in told)
    height = 2 * side + below + _TITLE_IN
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(_WIDTH_IN, height), facecolor="white")
        low, high = below / height, 1.0 - _TITLE_IN / height
        grid = figure.add_gridspec(2, n, left=0.01, right=0.99, bottom=low, top=high, wspace=0.04, hspace=0.04)
        for k, (record, title) in enumerate(zip(records, titles, strict=True)):
            upper, lower = figure.add_subplot(grid[0, k]), figure.add_subplot(grid[1, k])
            upper.set_title(f"{'abcdefgh'[k]}  {title}", fontsize=8)
            result_panel(upper, record, phases=False)
            result_panel(lower, record, phases=True)
            lower.text(0.0, -0.04, told[k], fontsize=6.0, va="top", transform=lower.transAxes, linespacing=1.3)
        there = [p for p in Phase if any(r.phases.fractions().get(p.key, 0.0) > 0.0 for r in records)]
        handles: list[Artist] = [phase_patch(phase, phase.label) for phase in there]
        if handles:
            handles.append(less_sure_patch())
            figure.legend(handles=handles, loc="lower center", ncols=len(handles), fontsize=7, handlelength=1.0)
    return figure


def _told(record: AnalysisRecord) -> str:
    """Class and thickness of each surface on two lines: a panel is narrow."""
    ordered = by_thickness(record.thickness.surfaces)
    if not ordered:
        return "no surface in view"
    names = [f"surface {key}: " if len(ordered) > 1 else "" for key, _ in ordered]
    kinds = [("class " if s.thickness_class is None else "") + class_text(s) for _, s in ordered]
    lines = [
        f"{name}{kind}\n{summary_text(s)}" for name, kind, (_, s) in zip(names, kinds, ordered[:_MOST], strict=False)
    ]
    return "\n".join([*lines, *([f"and {len(ordered) - _MOST} more"] if len(ordered) > _MOST else [])])

"""The cohort as a figure for a paper: thickness curves by group, medians, phases and faults, at journal width."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from atomseg.cohort import CohortStatistics, GroupStatistics, OutcomeEstimate, ThicknessCurve
from atomseg.measure.config import THICK_ABOVE_NM, THIN_BELOW_NM
from atomseg.report.style import PHASE_COLORS, STYLE
from atomseg.types import Phase

# Two columns of most journals: 178 mm (ACS, Nature, Elsevier allow 7.0 to 7.5 inches).
WIDTH_IN = 7.0
_CURVE_IN, _ROW_IN, _HEAD_IN = 2.4, 0.24, 0.75
_LINE_IN = 0.12  # of the legend
_PER_ROW = 3
# Okabe and Ito's palette without yellow, which no thin line survives; with it line styles, so that print is enough.
_LINES = (
    ("#0072B2", "-"),
    ("#D55E00", (0, (5, 1.5))),
    ("#009E73", (0, (1, 1))),
    ("#CC79A7", (0, (5, 1, 1, 1))),
    ("#000000", (0, (3, 1))),
    ("#56B4E9", (0, (1, 2))),
)
_STYLE = {
    **STYLE,
    "font.size": 7.0,
    "axes.titlesize": 7.5,
    "axes.labelsize": 7.0,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 6.5,
    "svg.fonttype": "path",  # text as outlines: the same on a machine without the font
    "svg.hashsalt": "atomseg",
}
_FORMATS = ("pdf", "svg", "png")
_PNG_DPI = 300


@dataclass(frozen=True)
class _Look:
    """Colour and line of every group, the same in all panels."""

    groups: tuple[str, ...]

    def color(self, group: str) -> str:
        return _LINES[self.groups.index(group) % len(_LINES)][0]

    def line(self, group: str) -> object:
        return _LINES[self.groups.index(group) % len(_LINES)][1]


def cohort_figure(statistics: CohortStatistics) -> Figure:
    """Thickness curves with bands for each kind of surface, and medians, phase fractions and fault densities by group.

    Parameters
    ----------
    statistics : CohortStatistics
        From `atomseg.cohort.cohort_statistics`, or read back from cohort.json.

    Returns
    -------
    matplotlib.figure.Figure
        7 inches wide, as high as the groups need, free of any pyplot state.
    """
    look = _Look(tuple(dict.fromkeys(group.group for group in statistics.groups)))
    curves = [group for group in statistics.groups if group.curve is not None]
    kinds = tuple(dict.fromkeys(group.surface_kind for group in curves))
    n_rows = -(-len(kinds) // _PER_ROW)
    low = _HEAD_IN + _ROW_IN * max(len(statistics.groups), 2)
    most = max((sum(_lines(g) for g in curves if g.surface_kind == kind) for kind in kinds), default=0)
    heights = [_CURVE_IN + _LINE_IN * most] * n_rows + [low]
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(WIDTH_IN, sum(heights) + 0.3), facecolor="white", layout="constrained")
        parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
        letters = iter("abcdefghijklmnopqrstuvwxyz")
        for row in range(n_rows):
            shown = kinds[row * _PER_ROW : (row + 1) * _PER_ROW]
            axes = parts[row].subplots(1, len(shown), squeeze=False)[0]
            for ax, kind in zip(axes, shown, strict=True):
                _draw_curves(ax, [g for g in curves if g.surface_kind == kind], statistics, look)
                ax.set_title(f"{next(letters)}  {_kind_text(kind)}")
        _draw_outcomes(parts[-1].subplots(1, 3, width_ratios=(1.5, 1.0, 1.0)), statistics, look, letters)
        parts[-1].legend(handles=_phase_key(), loc="outside lower center", ncols=4, handlelength=0.8, columnspacing=1.2)
    return figure


def cohort_figure_files(statistics: CohortStatistics) -> dict[str, bytes]:
    """The figure as ``cohort_figure.pdf`` and ``.svg`` (fonts embedded, as text and as outlines) and ``.png``."""
    figure = cohort_figure(statistics)
    files = {}
    for kind in _FORMATS:
        buffer = io.BytesIO()
        metadata = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {"Software": None}}[kind]
        with mpl.rc_context(_STYLE):
            figure.savefig(buffer, format=kind, dpi=_PNG_DPI, metadata=metadata)
        files[f"cohort_figure.{kind}"] = buffer.getvalue()
    return files


def _kind_text(kind: str) -> str:
    words = kind.replace("_", " ")
    return {"mixed": "several kinds", "none": "no surface in view"}.get(kind, f"{words[:1].upper()}{words[1:]} surface")


def _draw_curves(ax: Axes, groups: Sequence[GroupStatistics], statistics: CohortStatistics, look: _Look) -> None:
    """Share beyond each depth; dotted below detection and where fewer than half of the particles are seen."""
    end = 0.0
    for group in groups:
        curve = group.curve
        if curve is None:
            continue
        color, depth, beyond = look.color(group.group), np.array(curve.depth_nm), np.array(curve.beyond)
        end = max(end, float(depth[-1]))
        if curve.lower is not None and curve.upper is not None:
            ax.fill_between(depth, curve.lower, curve.upper, step="post", color=color, alpha=0.16, linewidth=0)
        firm = _firm(curve)
        ax.plot(depth, np.where(firm, beyond, np.nan), drawstyle="steps-post", color=color, lw=1.2,
                ls=look.line(group.group), label=f"{group.group}: {_n_short(group)}")  # fmt: skip
        ax.plot(depth, np.where(firm, np.nan, beyond), drawstyle="steps-post", color=color, lw=0.7, ls=":")
    for bound in (THIN_BELOW_NM, THICK_ABOVE_NM):
        if bound < end:
            ax.axvline(bound, color="0.75", lw=0.6, zorder=0)
    if statistics.tau_nm is not None and statistics.tau_nm <= end:
        ax.plot([statistics.tau_nm], [0.0], marker="^", color="0.2", ms=4, clip_on=False, zorder=5)
        ax.annotate("τ", (statistics.tau_nm, 0.0), xytext=(0, 4), textcoords="offset points", ha="center", fontsize=6.5)
    ax.axhline(0.5, color="0.75", lw=0.6, ls=(0, (2, 2)), zorder=0)
    ax.set_xlim(0.0, max(end, 1.0))
    ax.set_ylim(0.0, 1.0)
    ax.set_xlabel("depth (nm)")
    ax.set_ylabel("share of surface reconstructed deeper")
    # Below the axes: no corner is free of every set of curves.
    ax.legend(loc="upper left", bbox_to_anchor=(0.0, -0.2), handlelength=2.6, borderaxespad=0.0, labelspacing=0.25)


def _firm(curve: ThicknessCurve) -> np.ndarray:
    """Where a curve rests on at least half of the particles and lies above the detection limit."""
    depth, seen = np.array(curve.depth_nm), np.array(curve.particles_in_view)
    return np.asarray((depth >= curve.detection_nm) & (2 * seen >= seen.max()))


def _n_short(group: GroupStatistics) -> str:
    counts = (group.outcome("median") or group.outcomes[0]).counts
    censored = "" if counts.right_censored is None else f", {100 * counts.right_censored:.0f} % censored"
    # On a line of its own: a longer line takes its room from the curves, of which three stand in a row.
    few = ",\ndescriptive only" if group.descriptive_only else ""
    return f"{counts.particles} particles, {counts.images} images,\n{counts.points} points{censored}{few}"


def _lines(group: GroupStatistics) -> int:
    return 1 + _n_short(group).count("\n")


def _draw_outcomes(axes: Sequence[Axes], statistics: CohortStatistics, look: _Look, letters: Iterator[str]) -> None:
    groups = statistics.groups
    for ax, title in zip(axes, ("Median thickness", "Phases of the crystal", "O1 fault density"), strict=True):
        ax.set_title(f"{next(letters)}  {title}")
        ax.set_ylim(len(groups) - 0.5, -0.5)
        ax.set_yticks(range(len(groups)), [""] * len(groups))
        ax.tick_params(axis="y", length=0)
    axes[0].set_yticks(range(len(groups)), [f"{g.group}, {g.surface_kind}" for g in groups])
    for y, group in enumerate(groups):
        _draw_estimate(axes[0], y, group, "median", look)
        mixed = any((g.group, g.surface_kind) == (group.group, "mixed") for g in groups)
        _draw_phases(axes[1], y, group, otherwise="see mixed" if mixed else "not judged")
        _draw_estimate(axes[2], y, group, "fault_density", look)
    axes[0].set_xlabel(f"nm, {100 * statistics.level:.0f} % interval over particles")
    axes[0].set_xlim(left=0.0)
    axes[1].set_xlim(0.0, 1.0)
    axes[1].set_xlabel("share")
    axes[2].set_xlim(left=0.0)
    axes[2].set_xlabel("nm fault per nm² crystal")
    for ax in (axes[0], axes[2]):
        ax.xaxis.set_major_locator(MaxNLocator(4))


def _phase_key() -> list[Patch]:
    return [
        Patch(facecolor=PHASE_COLORS[phase], edgecolor="0.3", linewidth=0.3, label=phase.label)
        for phase in Phase
        if phase is not Phase.NONE
    ]


def _draw_estimate(ax: Axes, y: float, group: GroupStatistics, name: str, look: _Look) -> None:
    """Particles as dots (arrows where beyond their view), the group's estimate as a bar with its interval."""
    color = look.color(group.group)
    for particle in group.particles:
        value = particle.values.get(name)
        if value is not None:
            ax.plot([value], [y + 0.24], marker="o", ms=2.0, color=color, alpha=0.7, mew=0)
        elif name == "median" and particle.view_nm is not None:
            ax.plot([particle.view_nm], [y + 0.24], marker=">", ms=2.6, color=color, alpha=0.7, mew=0)
    entry = group.outcome(name)
    if entry is None:
        return
    _draw_interval(ax, y, entry, color)


def _draw_interval(ax: Axes, y: float, entry: OutcomeEstimate, color: str) -> None:
    end = entry.upper if entry.upper is not None else entry.estimate
    if entry.lower is not None and end is not None:
        ax.plot([entry.lower, end], [y, y], color=color, lw=1.4, solid_capstyle="butt")
    if entry.estimate is not None and entry.bound != "below_detection":
        ax.plot([entry.estimate], [y], marker="D", ms=3.6, color=color, mec="white", mew=0.4, zorder=4)
    if entry.lower is not None and entry.upper is None:
        start = entry.estimate if entry.estimate is not None else entry.lower
        ax.annotate("", (start, y), xytext=(16, 0), textcoords="offset points", annotation_clip=False,
                    arrowprops={"arrowstyle": "<-", "color": color, "lw": 1.2, "shrinkA": 0, "shrinkB": 0})  # fmt: skip


def _draw_phases(ax: Axes, y: float, group: GroupStatistics, *, otherwise: str) -> None:
    """Shares of the phases as one bar; words where no micrograph is counted for this group."""
    left = 0.0
    for phase in Phase:
        entry = group.outcome(phase.key) if phase is not Phase.NONE else None
        if entry is None or entry.estimate is None:
            continue
        ax.barh(y, entry.estimate, left=left, height=0.55, color=PHASE_COLORS[phase], edgecolor="0.3", linewidth=0.3)
        left += entry.estimate
    if not left:
        ax.text(0.02, y, otherwise, va="center", fontsize=6.0, color="0.4")

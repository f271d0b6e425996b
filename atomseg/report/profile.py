"""The thickness along the surface, with what is not known shown as such."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from atomseg.measure.config import THICK_ABOVE_NM, THIN_BELOW_NM
from atomseg.report.style import surface_colors
from atomseg.types import AnalysisRecord

# A profile is drawn at least this high, so that a thin layer looks thin and the first class bound is in view.
_SMALLEST_TOP_NM = 6.5
_ROOM_A_LINE = 0.1


def draw_profile(ax: Axes, record: AnalysisRecord, *, legend_columns: int = 3) -> None:
    """Thickness with its interval; an arrow upwards where what is drawn is a lower bound."""
    points = record.thickness.points
    if points.empty:
        nothing_here(ax, "no surface in view")
        return
    top, colors = _top_nm(points), surface_colors(points)
    for key, color in colors.items():
        _draw_surface(ax, points[points["surface_id"] == key].sort_values("s_nm"), top, color)
    handles = [_line(color, f"surface {key}") for key, color in colors.items()] if len(colors) > 1 else []
    if (points["event"] == 0).any():
        handles.append(_arrow("0.35" if len(colors) > 1 else next(iter(colors.values())), "lower bound"))
    if handles:
        columns = min(len(handles), legend_columns)
        ax.legend(handles=handles, loc="upper right", ncols=columns, handlelength=1.2, columnspacing=1.2)
        # Room for the legend above the curves.
        top *= 1.0 + _ROOM_A_LINE * -(-len(handles) // columns)
    _class_bounds(ax, top)
    ax.set_ylim(0.0, top)
    ax.margins(x=0.01)
    ax.set_xlabel("position along the surface (nm)")
    ax.set_ylabel("reconstruction thickness (nm)")


def _line(color: str, label: str) -> Line2D:
    return Line2D([], [], color=color, lw=1.2, marker="o", ms=1.6, label=label)


def _arrow(color: str, label: str) -> Line2D:
    return Line2D([], [], color=color, lw=0.8, ls=":", marker="$\\uparrow$", ms=6.0, mew=0.3, label=label)


def nothing_here(ax: Axes, text: str) -> None:
    """An empty panel that says why."""
    ax.set_axis_off()
    ax.text(0.5, 0.5, text, ha="center", va="center", color="0.35", transform=ax.transAxes, fontsize=8.5)


def _draw_surface(ax: Axes, rows: pd.DataFrame, top: float, color: str) -> None:
    s, thickness = rows["s_nm"].to_numpy(float), rows["thickness_nm"].to_numpy(float)
    lower = np.nan_to_num(rows["lower_nm"].to_numpy(float), nan=0.0)
    upper = np.minimum(np.nan_to_num(rows["upper_nm"].to_numpy(float), nan=top), top)
    ended = rows["event"].to_numpy(float) > 0
    # No band over censored points: there is no upper end to draw.
    ax.fill_between(s, lower, upper, where=ended, color=color, alpha=0.18, linewidth=0.0, step="mid")
    ax.plot(s, np.where(ended, thickness, np.nan), color=color, lw=1.2, marker="o", ms=1.6)
    if not ended.all():
        bound = np.where(ended, np.nan, thickness)
        ax.plot(s, bound, color=color, lw=0.8, ls=":", marker="$\\uparrow$", ms=6.0, mew=0.3)


def _class_bounds(ax: Axes, top: float) -> None:
    names = (
        (0.0, THIN_BELOW_NM, "thin"),
        (THIN_BELOW_NM, THICK_ABOVE_NM, "intermediate"),
        (THICK_ABOVE_NM, np.inf, "thick"),
    )
    for low, high, name in names:
        if low >= top:
            continue
        if low > 0.0:
            ax.axhline(low, color="0.45", lw=0.7, ls=(0, (4, 3)), zorder=0)
        middle = (low + min(high, top)) / 2.0
        ax.annotate(
            name,
            (1.0, middle),
            xycoords=("axes fraction", "data"),
            xytext=(3, 0),
            textcoords="offset points",
            rotation=90,
            va="center",
            ha="left",
            fontsize=6.5,
            color="0.35",
            annotation_clip=False,
        )


def _top_nm(points: pd.DataFrame) -> float:
    values = points[["thickness_nm", "upper_nm"]].to_numpy(float)
    # An interval that is open upwards, or absurdly wide, must not squeeze the profile to a line.
    values = values[np.isfinite(values)]
    seen = points["thickness_nm"].to_numpy(float)
    highest = np.nanmax(seen) if np.isfinite(seen).any() else 0.0
    widest = float(np.percentile(values, 95)) if len(values) else 0.0
    return float(max(1.15 * max(highest, min(widest, 1.6 * highest + 1.0)), _SMALLEST_TOP_NM))

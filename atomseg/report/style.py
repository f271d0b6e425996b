"""Colours and typography of every figure."""

from typing import Any

import pandas as pd

from atomseg.types import Phase

# Okabe and Ito, "Color Universal Design" (2008): told apart with any colour vision, and in print by lightness.
PHASE_COLORS: dict[Phase, str] = {
    Phase.NONE: "#FFFFFF",
    Phase.LAYERED: "#56B4E9",
    Phase.ROCKSALT: "#D55E00",
    Phase.O1: "#F0E442",
    Phase.UNRESOLVED: "#CC79A7",
}
# Lines of the thickness profile, one colour a surface; the same palette without the phases' own colours.
SURFACE_COLORS = ("#000000", "#0072B2", "#009E73", "#7F7F7F")


def surface_colors(points: pd.DataFrame) -> dict[int, str]:
    """Colour of each surface of thickness.csv, the same in the profile and in the pictures."""
    keys = sorted({int(key) for key in points["surface_id"]})
    return {key: SURFACE_COLORS[index % len(SURFACE_COLORS)] for index, key in enumerate(keys)}


STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # ships with matplotlib: the figure looks the same on every machine
    "font.size": 8.0,
    "axes.titlesize": 9.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 5.0,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.labelsize": 8.0,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "legend.fontsize": 7.0,
    "legend.frameon": False,
    "pdf.compression": 3,
    "pdf.fonttype": 42,  # text stays text, so that a person can edit the figure
    "svg.fonttype": "none",
}

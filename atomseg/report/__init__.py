"""Figures and pages for people; the only place that draws."""

from atomseg.report.cohort import cohort_html
from atomseg.report.comparison import comparison_figure
from atomseg.report.layers import LAYERS, Layer
from atomseg.report.maps_figure import maps_figure
from atomseg.report.overview import figure_bytes, figure_files, overview_figure
from atomseg.report.page import page_files, page_html
from atomseg.report.paper import paper_bytes, paper_figure
from atomseg.report.plot_library import ASSETS, share_library
from atomseg.report.style import PHASE_COLORS
from atomseg.report.survival import cohort_figure, cohort_figure_files
from atomseg.report.text import surfaces_line, thickness_text

__all__ = [
    "ASSETS",
    "LAYERS",
    "PHASE_COLORS",
    "Layer",
    "cohort_figure",
    "cohort_figure_files",
    "cohort_html",
    "comparison_figure",
    "figure_bytes",
    "figure_files",
    "maps_figure",
    "overview_figure",
    "page_files",
    "page_html",
    "paper_bytes",
    "paper_figure",
    "share_library",
    "surfaces_line",
    "thickness_text",
]

"""The lattice maps as a figure: spacing, strain, shear, rotation, mixing, defects, and the profile with depth."""

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from atomseg.report.panels import draw_surface, extent_nm, keep_view, scale_bar, show_image
from atomseg.report.profile import nothing_here
from atomseg.report.style import STYLE
from atomseg.types import AnalysisRecord, LatticeMaps, Phase

_WIDTH_IN, _HEIGHT_IN = 13.33, 6.6
# A panel is three inches wide: more pixels than this are not seen.
_PANEL_PX = 450
# Symmetric colour range of strain: no narrower, or noise fills it; no wider, or a core decides.
_LEAST_STRAIN, _MOST_STRAIN = 0.01, 0.06
_LEAST_TURN_DEG, _MOST_TURN_DEG = 0.5, 5.0


def maps_figure(record: AnalysisRecord) -> Figure:
    """Lattice maps of one micrograph on one page.

    Parameters
    ----------
    record : AnalysisRecord
        The result, with its lattice measured.

    Returns
    -------
    matplotlib.figure.Figure
        13.33 x 6.6 inches, free of any pyplot state.

    Raises
    ------
    ValueError
        If the record has no lattice maps.
    """
    lattice = record.lattice
    if lattice is None:
        raise ValueError("the analysis holds no lattice maps (it was made by a version that did not measure them)")
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(_WIDTH_IN, _HEIGHT_IN), facecolor="white")
        grid = figure.add_gridspec(2, 4, left=0.02, right=0.965, bottom=0.075, top=0.9, wspace=0.16, hspace=0.16)
        axes = [figure.add_subplot(grid[row, column]) for row in range(2) for column in range(4)]
        figure.text(0.02, 0.955, f"{record.micrograph.name}: lattice", fontsize=13, weight="bold", va="center")
        figure.text(0.97, 0.955, _reference_text(lattice), fontsize=7.5, color="0.4", va="center", ha="right")
        spacing = lattice.spacing
        title = "a  TM layer spacing"
        _map(figure, axes[0], record, title, spacing, limits=_range(spacing), unit="nm", colors="cividis")
        strain = [lattice.strain_cc, lattice.strain_ip, lattice.shear]
        widest = float(np.clip(max(_spread(plane) for plane in strain), _LEAST_STRAIN, _MOST_STRAIN))
        titles = ("b  Strain across the layers", "c  Strain along the rows", "d  Shear between the layers")
        for ax, title, plane in zip(axes[1:4], titles, strain, strict=True):
            limits = (-100 * widest, 100 * widest)
            _map(figure, ax, record, title, 100 * _small(plane), limits=limits, unit="%", colors="RdBu_r")
        turn = float(np.clip(_spread(lattice.rotation), _LEAST_TURN_DEG, _MOST_TURN_DEG))
        rotation, occupancy = lattice.rotation, record.phases.occupancy
        _map(figure, axes[4], record, "e  Rotation", rotation, limits=(-turn, turn), unit="degrees", colors="PuOr_r")
        title = "f  TM on interlayer sites"
        _map(figure, axes[5], record, title, occupancy, limits=(0.0, 1.0), unit="fraction", colors="cividis")
        _defects(axes[6], record, lattice)
        _profile(axes[7], lattice)
    return figure


def _map(
    figure: Figure,
    ax: Axes,
    record: AnalysisRecord,
    title: str,
    plane: np.ndarray,
    *,
    limits: tuple[float, float],
    unit: str,
    colors: str,
) -> None:
    ax.set_title(title)
    shown = _small(plane)
    if not np.isfinite(shown).any():
        nothing_here(ax, "not measurable here")
        return
    show_image(ax, _small(record.micrograph.image), record, dim=0.6)
    drawn = ax.imshow(
        shown, cmap=colors, vmin=limits[0], vmax=limits[1], extent=extent_nm(record), interpolation="nearest"
    )
    draw_surface(ax, record)
    keep_view(ax, record)
    scale_bar(ax)
    bar = figure.colorbar(drawn, ax=ax, fraction=0.046, pad=0.02, shrink=0.85)
    bar.set_label(unit, fontsize=7.5)
    bar.outline.set_linewidth(0.4)  # type: ignore[operator]


def _defects(ax: Axes, record: AnalysisRecord, lattice: LatticeMaps) -> None:
    """O1 gaps as dots, dislocations as signs with their Burgers vectors."""
    ax.set_title("g  O1 faults and dislocations")
    show_image(ax, _small(record.micrograph.image), record, dim=0.8)
    gaps = record.phases.gaps
    if len(gaps):
        o1 = gaps[gaps["phase"] == int(Phase.O1)]
        ax.scatter(o1["x_nm"], o1["y_nm"], s=2.0, c="#F0E442", linewidths=0.0, rasterized=True)
    size_y, size_x = record.micrograph.calibration.pixel_size_nm
    for _, one in lattice.dislocations.iterrows():
        y, x = one["y_px"] * size_y, one["x_px"] * size_x
        color = "#009E73" if one["sign"] > 0 else "#CC79A7"
        ax.plot(x, y, marker="+" if one["sign"] > 0 else "x", color=color, ms=6.0, mew=1.4)
        ax.annotate(
            "",
            xy=(x + 3 * one["b_x_nm"], y + 3 * one["b_y_nm"]),
            xytext=(x, y),
            arrowprops={"arrowstyle": "->", "color": color, "lw": 1.0},
            annotation_clip=True,
        )
    draw_surface(ax, record)
    keep_view(ax, record)
    scale_bar(ax)
    numbers = lattice.dislocation_summary
    share = lattice.fault_summary.get("fault_fraction")
    told = f"{len(record.thickness.faults)} faults" + (f" ({share:.1%} of gaps)" if isinstance(share, float) else "")
    told += f", {numbers.get('n', 0)} dislocations, b drawn three times"
    ax.text(0.5, -0.03, told, transform=ax.transAxes, ha="center", va="top", fontsize=7.0)


def _profile(ax: Axes, lattice: LatticeMaps) -> None:
    ax.set_title("h  Mixing with depth")
    profile = lattice.depth_profile
    known = profile[profile["occupancy"].notna()]
    if len(known) < 2:
        nothing_here(ax, "no surface in view")
        return
    depth = known["depth_nm"].to_numpy()
    ax.fill_between(
        depth, known["occupancy_p16"], known["occupancy_p84"], color="0.85", lw=0.0, label="16 to 84 % of the sites"
    )
    ax.errorbar(
        depth, known["occupancy"], yerr=known["occupancy_err"], color="#0072B2", lw=1.0, elinewidth=0.5, label="mean"
    )
    ax.set_xlabel("depth below the surface (nm)")
    ax.set_ylabel("TM on interlayer sites (fraction)")
    ax.set_ylim(0.0, 1.05)
    ax.set_xlim(0.0, float(depth.max()))
    ax.legend(loc="upper right")


def _reference_text(lattice: LatticeMaps) -> str:
    reference = lattice.summary.get("reference")
    if not isinstance(reference, dict):
        return "no bulk reference: strain and rotation unknown"
    return (
        f"relative to {reference['n_columns']} columns ({str(reference['source']).replace('_', ' ')}): "
        f"period {reference['period_nm']:.4f} nm, layers {reference['spacing_nm']:.4f} nm"
    )


def _range(plane: np.ndarray) -> tuple[float, float]:
    known = _small(plane)[np.isfinite(_small(plane))]
    if known.size == 0:
        return 0.46, 0.49
    low, high = np.percentile(known, [1.0, 99.0])
    middle, half = 0.5 * (low + high), max(0.5 * (high - low), 0.005)
    return float(middle - half), float(middle + half)


def _spread(plane: np.ndarray) -> float:
    shown = np.abs(_small(plane))
    return float(np.percentile(shown[np.isfinite(shown)], 98.0)) if np.isfinite(shown).any() else 0.0


def _small(plane: np.ndarray) -> np.ndarray:
    step = max(1, -(-max(plane.shape) // _PANEL_PX))
    return plane[::step, ::step]

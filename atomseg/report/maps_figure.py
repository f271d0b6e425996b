"""The lattice maps as a figure: spacing, strain, shear, rotation, mixing, defects, and the profile with depth."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from atomseg.report.panels import draw_surface, extent_nm, keep_view, scale_bar, show_image
from atomseg.report.profile import nothing_here
from atomseg.report.style import STYLE, surface_colors
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
        _drift_notes(axes[1:4], lattice)
        turn = float(np.clip(_spread(lattice.rotation), _LEAST_TURN_DEG, _MOST_TURN_DEG))
        rotation, occupancy = lattice.rotation, record.phases.occupancy
        _map(figure, axes[4], record, "e  Rotation", rotation, limits=(-turn, turn), unit="degrees", colors="PuOr_r")
        title = "f  TM on interlayer sites"
        _map(figure, axes[5], record, title, occupancy, limits=(0.0, 1.0), unit="fraction", colors="cividis")
        _defects(axes[6], record, lattice)
        _profile(axes[7], record, lattice)
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
    draw_surface(ax, record, numbered=False)
    keep_view(ax, record)
    scale_bar(ax)
    bar = figure.colorbar(drawn, ax=ax, fraction=0.046, pad=0.02, shrink=0.85)
    bar.set_label(unit, fontsize=7.5)
    bar.outline.set_linewidth(0.4)  # type: ignore[operator]


def _drift_notes(axes: Sequence[Axes], lattice: LatticeMaps) -> None:
    """Below the maps that vary as drift makes them vary, the sentence that says so."""
    drifting = lattice.summary.get("along_slow_scan")
    for ax, name in zip(axes, ("strain_cc", "strain_ip", "shear"), strict=True):
        if isinstance(drifting, list) and name in drifting:
            _note(ax, "varies along the slow scan direction: drift looks like this")


def _note(ax: Axes, text: str) -> None:
    ax.text(0.5, -0.03, text, transform=ax.transAxes, ha="center", va="top", fontsize=7.0)


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
    _note(ax, _defects_text(record, lattice))


def _defects_text(record: AnalysisRecord, lattice: LatticeMaps) -> str:
    """How many were found, of what was looked for."""
    n, share = len(record.thickness.faults), lattice.fault_summary.get("fault_fraction")
    faults = "" if not n and share is None else f"{n} fault{'' if n == 1 else 's'}"
    faults += f" ({share:.1%} of gaps)" if isinstance(share, float) else ""
    cores = lattice.dislocation_summary.get("n")
    if not faults and cores is None:
        return "not looked for here"
    told = "" if cores is None else f"{cores} dislocation{'' if cores == 1 else 's'}"
    told += ", b drawn three times" if cores else ""
    return f"{faults or 'faults: not looked for here'}, {told or 'dislocations: not looked for here'}"


def _profile(ax: Axes, record: AnalysisRecord, lattice: LatticeMaps) -> None:
    """One curve a surface, in the colours of the thickness profile."""
    ax.set_title("h  Mixing with depth")
    profile = lattice.depth_profile
    known = profile[profile["occupancy"].notna()]
    if len(known) < 2:
        nothing_here(ax, "no surface in view" if not len(record.thickness.points) else "not measurable here")
        return
    colors = surface_colors(record.thickness.points if len(record.thickness.points) else known)
    several = known["surface_id"].nunique() > 1
    for key in sorted({int(key) for key in known["surface_id"]}):
        rows, color = known[known["surface_id"] == key], colors.get(key, "black")
        label = f"{f'surface {key}: ' if several else ''}mean, band 16 to 84 % of the sites"
        ax.fill_between(rows["depth_nm"], rows["occupancy_p16"], rows["occupancy_p84"], color=color, alpha=0.15, lw=0.0)
        mean, error = rows["occupancy"].to_numpy(), rows["occupancy_err"].to_numpy()
        ax.errorbar(rows["depth_nm"].to_numpy(), mean, error, color=color, lw=1.0, elinewidth=0.5, label=label)
    ax.set_xlabel("depth below the surface (nm)")
    ax.set_ylabel("TM on interlayer sites (fraction)")
    # Room for the legend above the curves, which end at one.
    ax.set_ylim(0.0, 1.05 + 0.08 * len(ax.containers))
    ax.set_yticks(np.linspace(0.0, 1.0, 6))
    ax.set_xlim(0.0, float(known["depth_nm"].max()))
    ax.legend(loc="upper right", borderaxespad=0.1)


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

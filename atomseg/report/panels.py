"""The panels of the overview figure; each draws one thing into the axes that it is given."""

import math

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import withStroke

from atomseg.report.layers import shrink
from atomseg.report.style import PHASE_COLORS, surface_colors
from atomseg.types import AnalysisRecord, Phase

# More pixels than a panel can show cost time and file size and nothing else.
DISPLAY_PX = 1200
# Above this, vector markers make a PDF that no viewer can scroll.
VECTOR_MARKERS = 1500


def show_image(ax: Axes, image: np.ndarray, record: AnalysisRecord, *, dim: float = 1.0) -> None:
    """A grey image in nm; `dim` below 1 leaves room for colours on top."""
    shown = shrink(image, stride(image.shape))
    low, high = np.percentile(shown, [0.5, 99.7])
    high = high if high > low else low + 1.0
    ax.imshow(
        shown,
        cmap="gray",
        vmin=low,
        vmax=low + (high - low) / dim,
        extent=extent_nm(record),
        interpolation="antialiased",
        aspect="equal",
    )
    hide_frame(ax)


def draw_columns(ax: Axes, record: AnalysisRecord, *, scale: float = 0.5) -> None:
    """Columns as dots in the colour of their phase, `scale` times their distance wide."""
    yx = record.localized.yx_nm
    if not len(yx):
        return
    codes = record.phases.columns["phase"].to_numpy()
    size = scale * spacing_nm(record) * _points_per_nm(ax)
    for phase in Phase:
        chosen = codes == phase
        if not chosen.any():
            continue
        ax.scatter(
            yx[chosen, 1],
            yx[chosen, 0],
            s=np.clip(size, 0.5, 7.0) ** 2,
            c=PHASE_COLORS[phase],
            linewidths=0.0,
            rasterized=len(yx) > VECTOR_MARKERS,
        )


def draw_surface(ax: Axes, record: AnalysisRecord, *, numbered: bool = True) -> None:
    """Crystal edge of every surface, as a line along the measured points.

    Of several surfaces each has its number where its profile begins, in the colour of the profile.
    """
    size_y, size_x = record.micrograph.calibration.pixel_size_nm
    outline = [withStroke(linewidth=2.2, foreground="black")]
    points = record.thickness.points
    colors = surface_colors(points)
    for key, color in colors.items():
        ordered = points[points["surface_id"] == key].sort_values("s_nm")
        y, x = ordered["y_px"].to_numpy() * size_y, ordered["x_px"].to_numpy() * size_x
        ax.plot(*_broken(x, y), color="white", lw=1.1, path_effects=outline)
        if numbered and len(colors) > 1:
            angle = np.deg2rad(ordered["normal_deg"].to_numpy(float))
            _number(ax, key, color, np.stack([x, y]), np.stack([np.cos(angle), np.sin(angle)]))


def _number(ax: Axes, key: int, color: str, at: np.ndarray, inwards: np.ndarray) -> None:
    """The number of a surface beside the first of its points in view, in the crystal and off the scale bar."""
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    width, height = right - left, bottom - top
    side = min(width, height)
    corner, size = np.array([[left], [top]]), np.array([[width], [height]])
    place = at + 0.07 * side * inwards
    across, down = (place - corner) / size
    seen = ((at > corner) & (at < corner + size)).all(axis=0) & (np.minimum(across, down) > 0.04)
    seen &= (np.maximum(across, down) < 0.96) & ~((across < 0.32) & (down > 0.82))
    if not seen.any():
        return
    x, y = place[:, np.flatnonzero(seen)[0]]
    ax.text(
        x,
        y,
        str(key),
        color="white",
        fontsize=6.5,
        weight="bold",
        ha="center",
        va="center",
        bbox={"boxstyle": "circle,pad=0.25", "facecolor": color, "edgecolor": "white", "linewidth": 0.8},
    )


def draw_layer_end(ax: Axes, record: AnalysisRecord) -> None:
    """Where the measured layer ends, as a dashed line; nothing where it leaves the view."""
    size_y, size_x = record.micrograph.calibration.pixel_size_nm
    for _, points in record.thickness.points.groupby("surface_id"):
        ordered = points.sort_values("s_nm")
        angle = np.deg2rad(ordered["normal_deg"].to_numpy(float))
        depth = np.where(ordered["event"].to_numpy(float) > 0, ordered["thickness_nm"].to_numpy(float), np.nan)
        y = ordered["y_px"].to_numpy() * size_y + depth * np.sin(angle)
        x = ordered["x_px"].to_numpy() * size_x + depth * np.cos(angle)
        ax.plot(*_broken(x, y), color="black", lw=1.0, ls=(0, (2.5, 1.5)))


def draw_phases(ax: Axes, record: AnalysisRecord) -> None:
    """Phase map over the dimmed image, opaque where it is sure."""
    labels, confidence = record.phases.labels, record.phases.confidence
    step = stride(labels.shape)
    colors = ListedColormap([PHASE_COLORS[phase] for phase in Phase])
    shown = labels[::step, ::step]
    alpha = np.where(shown == Phase.NONE, 0.0, 0.25 + 0.45 * np.nan_to_num(confidence[::step, ::step]))
    ax.imshow(
        shown,
        cmap=colors,
        vmin=-0.5,
        vmax=len(Phase) - 0.5,
        alpha=alpha,
        extent=extent_nm(record),
        interpolation="nearest",
    )


def phase_handles(record: AnalysisRecord) -> list[Artist]:
    """Entries of a legend: the phases that are drawn with their shares, and what the drawing says besides."""
    fractions = record.phases.fractions()
    handles: list[Artist] = [
        phase_patch(phase, f"{phase.label} {_percent(fractions[phase.key])}")
        for phase in Phase
        if fractions.get(phase.key, 0.0) > 0.0
    ]
    if (record.thickness.points["event"] > 0).any():
        handles.append(Line2D([], [], color="black", lw=1.0, ls=(0, (2.5, 1.5)), label="end of the layer"))
    return [*handles, less_sure_patch()] if record.phases.fractions() else handles


def phase_legend(ax: Axes, record: AnalysisRecord) -> None:
    """The legend of the phases under the panel."""
    handles = phase_handles(record)
    if handles:
        ax.legend(
            handles=handles,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.01),
            ncols=len(handles),
            handlelength=1.0,
            handletextpad=0.5,
            columnspacing=1.2,
            borderaxespad=0.2,
        )


def draw_micrograph(ax: Axes, record: AnalysisRecord, *, dim: float = 1.0) -> None:
    """The image that was measured; where it is gone the restored one, which is told."""
    show_image(ax, record.micrograph.image, record, dim=dim)
    if record.input_lost:
        ax.text(
            0.97,
            0.03,
            "restored by the network",
            color="white",
            fontsize=6.0,
            ha="right",
            va="bottom",
            transform=ax.transAxes,
            path_effects=[withStroke(linewidth=1.8, foreground="black")],
        )


def result_panel(ax: Axes, record: AnalysisRecord, *, phases: bool) -> None:
    """The image with its surfaces, as it is or below its phases."""
    draw_micrograph(ax, record, dim=0.8 if phases else 1.0)
    if phases:
        draw_phases(ax, record)
        draw_layer_end(ax, record)
    draw_surface(ax, record)
    keep_view(ax, record)
    scale_bar(ax)


def phase_patch(phase: Phase, label: str) -> Patch:
    """Entry of a phase in a legend."""
    return Patch(facecolor=PHASE_COLORS[phase], edgecolor="black", linewidth=0.4, label=label)


def less_sure_patch() -> Patch:
    """Entry of a legend that says what pale colours mean."""
    return Patch(facecolor="0.9", linewidth=0.0, label="paler: less sure")


def _percent(share: float) -> str:
    return "< 1%" if share < 0.005 else f"{share:.0%}"


def draw_occupancy(ax: Axes, record: AnalysisRecord) -> ScalarMappable | None:
    """Interlayer occupancy where it can be measured; None when it can be nowhere."""
    occupancy = record.phases.occupancy
    step = stride(occupancy.shape)
    shown = occupancy[::step, ::step]
    if not np.isfinite(shown).any():
        return None
    return ax.imshow(
        np.clip(shown, 0.0, 1.0),
        cmap="cividis",
        norm=Normalize(0.0, 1.0),
        extent=extent_nm(record),
        interpolation="nearest",
    )


def scale_bar(ax: Axes) -> None:
    """A bar of a round length, about a fifth of the panel."""
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    width, height = right - left, bottom - top
    length = round_length(width / 5.0)
    x, y = left + 0.045 * width, bottom - 0.05 * height
    thickness = 0.014 * height
    ax.add_patch(Rectangle((x, y - thickness), length, thickness, facecolor="white", edgecolor="black", linewidth=0.5))
    outline = [withStroke(linewidth=1.8, foreground="black")]
    label = f"{length:g} nm"
    ax.text(
        x + length / 2.0,
        y - 1.6 * thickness,
        label,
        color="white",
        ha="center",
        va="bottom",
        fontsize=7.5,
        weight="bold",
        path_effects=outline,
    )


def round_length(target: float) -> float:
    """The largest of 1, 2, 5 times a power of ten that is not above `target`."""
    power = 10.0 ** math.floor(math.log10(target))
    return max(step * power for step in (1.0, 2.0, 5.0) if step * power <= target * (1 + 1e-9))


def extent_nm(record: AnalysisRecord) -> tuple[float, float, float, float]:
    """Outline of the pixels in nm for imshow; the centre of the first pixel is (0, 0)."""
    height, width = record.micrograph.shape
    size_y, size_x = record.micrograph.calibration.pixel_size_nm
    return (-0.5 * size_x, (width - 0.5) * size_x, (height - 0.5) * size_y, -0.5 * size_y)


def keep_view(ax: Axes, record: AnalysisRecord) -> None:
    """The whole image and no more, whatever was drawn."""
    left, right, bottom, top = extent_nm(record)
    ax.set_xlim(left, right)
    ax.set_ylim(bottom, top)


def stride(shape: tuple[int, ...]) -> int:
    """Take every how manieth pixel for display."""
    return max(1, math.ceil(max(shape) / DISPLAY_PX))


def spacing_nm(record: AnalysisRecord) -> float:
    """Typical distance of a column to its nearest neighbour."""
    from scipy.spatial import cKDTree

    yx = record.localized.yx_nm
    if len(yx) < 2:
        return 0.25  # a usual cation spacing; only the size of a dot depends on it
    return float(np.median(cKDTree(yx).query(yx, k=2)[0][:, 1]))


def _points_per_nm(ax: Axes) -> float:
    figure = ax.get_figure()
    if figure is None:
        return 1.0
    box = ax.get_position()
    width_in, height_in = figure.get_size_inches()  # type: ignore[union-attr]
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    return 72.0 * min(box.width * width_in / abs(right - left), box.height * height_in / abs(bottom - top))


def _broken(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Insert gaps where successive points jump: a surface can leave the view and come back."""
    if len(x) < 3:
        return x, y
    steps = np.hypot(np.diff(x), np.diff(y))
    jumps = np.flatnonzero(steps > 5.0 * max(float(np.median(steps)), 1e-9)) + 1
    return np.insert(x, jumps, np.nan), np.insert(y, jumps, np.nan)


def hide_frame(ax: Axes) -> None:
    """No ticks and no box: the scale bar says it all."""
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(False)

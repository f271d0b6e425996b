"""Local lattice frames: which way the cation rows run, how far apart columns and layers are, in every crystal domain.

A row of equal columns is the one thing that every phase of a layered oxide shows down the close-packed zone: each
column has two neighbours of its own brightness on opposite sides. The direction that most columns agree on is the
domain's; where everything is bright (rocksalt) two directions fit equally well and the layered crystal around decides.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.spatial import cKDTree

from atomseg.classify.config import IN_PLANE_PERIOD_NM, ClassifyConfig
from atomseg.classify.shear import ShiftOffset, stacking_offset

# Two neighbours belong to the column's own row when they mirror each other to this fraction of the period...
TRIPLE_STRAIGHTNESS = 0.22
# ...and their amplitudes agree to this factor (noise at 100 counts a column is 15 %, a thickness wedge a few per cent).
TRIPLE_BRIGHTNESS = 0.62
# Columns of two layers are alike up to this factor: layers differ more than neighbours of a row do.
LIKE_LAYERS = 2.2
# In every phase the nearest column is a period or (rocksalt's next row) hardly less away; a lattice with closer columns
# is another one, or the same at a wrong scale.
NEAREST_NEIGHBOUR = 0.75
# Directions closer than this are one domain (bent lattices turn by about 2 degrees in 10 nm).
DIRECTION_WIDTH_DEG = 8.0
# A column beside the row is turned from it by 70 degrees (rocksalt) or more; noise turns rows by less than this.
BESIDE_DEG = 25.0
# Scatter of the spacing of single pairs about that of the layers around, periods: three times 16 pm.
RATIO_SCATTER = 0.2
# Columns around one that its local frame is read from.
FRAME_NEIGHBOURS = 24


@dataclass(frozen=True)
class Frames:
    """Local frame of every column.

    Parameters
    ----------
    row : numpy.ndarray
        (N, 2) vector (y, x) along the cation row, length the period, nm; NaN where the column follows no frame.
    layer_nm : numpy.ndarray
        (N,) spacing of TM layers (two cation rows), nm.
    domain : numpy.ndarray
        (N,) int domain index, -1 where the column follows no frame.
    shift_offset : tuple of ShiftOffset
        Shear of each domain as an offset of the stacking shift.
    """

    row: np.ndarray
    layer_nm: np.ndarray
    domain: np.ndarray
    shift_offset: tuple[ShiftOffset, ...]

    def typical_row(self, domain: int) -> np.ndarray:
        """(2,) median of the row vectors of a domain, nm."""
        return np.asarray(np.median(self.row[self.domain == domain], axis=0))


def unit_across(row: np.ndarray) -> np.ndarray:
    """(..., 2) unit vectors (y, x) across rows."""
    unit = row / np.linalg.norm(row, axis=-1, keepdims=True)
    return np.stack([unit[..., 1], -unit[..., 0]], axis=-1)


@dataclass(frozen=True)
class Triples:
    """Columns with two like neighbours on opposite sides."""

    column: np.ndarray  # (T,) index of the middle column
    outer: np.ndarray  # (T, 2) indices of the neighbours, the one at smaller x first
    vector: np.ndarray  # (T, 2) half the distance between the outer two, (y, x), nm, x >= 0


def row_periods_nm(config: ClassifyConfig) -> tuple[float, float]:
    """Smallest and largest distance of two columns of a row that is still a layered oxide's, nm."""
    tolerance = config.scale_tolerance + 0.03  # the phases themselves differ by 3 % in period
    return IN_PLANE_PERIOD_NM * (1 - tolerance), IN_PLANE_PERIOD_NM * (1 + tolerance)


def find_triples(yx_nm: np.ndarray, amplitude: np.ndarray, period_nm: tuple[float, float]) -> Triples:
    """Straight, equally bright triples of columns with a spacing inside `period_nm`."""
    tree = cKDTree(yx_nm)
    pairs = _pairs_a_period_apart(tree, period_nm)
    directed = np.concatenate([pairs, pairs[:, ::-1]])
    vector = yx_nm[directed[:, 1]] - yx_nm[directed[:, 0]]
    forward = (vector[:, 1] > 0) | ((vector[:, 1] == 0) & (vector[:, 0] > 0))
    directed, vector = directed[forward], vector[forward]
    # The mirror neighbour is looked up where it should be; the tree answers for all candidates at once.
    distance, mirror = tree.query(yx_nm[directed[:, 0]] - vector)
    spacing = np.linalg.norm(vector, axis=1)
    a, b, c = amplitude[directed[:, 0]], amplitude[directed[:, 1]], amplitude[mirror]
    low, high = np.minimum(np.minimum(a, b), c), np.maximum(np.maximum(a, b), c)
    keep = (distance < TRIPLE_STRAIGHTNESS * spacing) & (mirror != directed[:, 0]) & (low > TRIPLE_BRIGHTNESS * high)
    directed, mirror = directed[keep], mirror[keep]
    outer = np.stack([mirror, directed[:, 1]], axis=1)
    return Triples(directed[:, 0], outer, 0.5 * (yx_nm[outer[:, 1]] - yx_nm[outer[:, 0]]))


def _pairs_a_period_apart(tree: cKDTree, period_nm: tuple[float, float]) -> np.ndarray:
    """(P, 2) pairs of the tree's points whose distance lies in `period_nm`."""
    pairs = tree.query_pairs(period_nm[1], output_type="ndarray")
    length = np.linalg.norm(tree.data[pairs[:, 1]] - tree.data[pairs[:, 0]], axis=1)
    return np.asarray(pairs[length >= period_nm[0]])


def angles_deg(vector: np.ndarray) -> np.ndarray:
    """Direction modulo 180 degrees."""
    return np.rad2deg(np.arctan2(vector[:, 0], vector[:, 1])) % 180.0


def turn_deg(a: np.ndarray, b: float) -> np.ndarray:
    """Smallest turn between directions, 0 to 90 degrees."""
    return np.abs((a - b + 90.0) % 180.0 - 90.0)


def candidate_directions(triples: Triples, min_support: int) -> list[float]:
    """Row directions, degrees modulo 180, the best supported first."""
    if len(triples.column) == 0:
        return []
    angle = angles_deg(triples.vector)
    histogram = np.bincount(np.round(angle * 2).astype(int) % 360, minlength=360).astype(float)
    density = gaussian_filter1d(histogram, 3.0, mode="wrap")
    found: list[float] = []
    while density.max() > 0 and len(found) < 6:
        peak = density.argmax() / 2.0
        near = turn_deg(angle, peak) < DIRECTION_WIDTH_DEG
        if near.sum() < min_support:
            break
        centre = _centre_of(angle, peak)
        # A noisy direction can have two peaks: both climb to the same centre, which is found once.
        if all(turn_deg(np.array([centre]), other)[0] > DIRECTION_WIDTH_DEG for other in found):
            found.append(centre)
        for seen in (peak, centre):
            density[turn_deg(np.arange(360) / 2.0, seen) < 1.5 * DIRECTION_WIDTH_DEG] = 0
    return found


def _centre_of(angle: np.ndarray, start: float) -> float:
    """Direction (degrees modulo 180) that is the median of those around it, climbing from a start."""
    centre = start
    for _ in range(8):
        near = turn_deg(angle, centre) < DIRECTION_WIDTH_DEG
        centre = float((centre + np.median((angle[near] - centre + 90.0) % 180.0 - 90.0)) % 180.0)
    return centre


def beside_rows(
    yx_nm: np.ndarray, amplitude: np.ndarray, period_nm: tuple[float, float], directions: list[float]
) -> np.ndarray:
    """(N, K) bool, columns with a like-bright one a period away in another direction than each row's: no stripe.

    In layered crystal the next row of metal is two cation rows away, in rocksalt it is the next. Where rocksalt ends at
    a surface, or where scan errors bend it, columns have straight neighbours in one direction only as stripes do.
    """
    pairs = _pairs_a_period_apart(cKDTree(yx_nm), period_nm)
    one, other = amplitude[pairs].T
    pairs = pairs[np.minimum(one, other) > TRIPLE_BRIGHTNESS * np.maximum(one, other)]
    angle = angles_deg(yx_nm[pairs[:, 1]] - yx_nm[pairs[:, 0]])
    found = np.zeros((len(yx_nm), len(directions)), dtype=bool)
    for k, direction in enumerate(directions):
        found[pairs[turn_deg(angle, direction) > BESIDE_DEG].ravel(), k] = True
    return found


def assign_directions(
    yx_nm: np.ndarray, triples: Triples, directions: list[float], min_columns: int, *, beside: np.ndarray
) -> np.ndarray:
    """Index of the row direction that each column follows, -1 for none.

    A column with one like-bright direction only is evidence for it (a stripe); a column with several (rocksalt) follows
    the stripes around it.

    Parameters
    ----------
    yx_nm : numpy.ndarray
        (N, 2) positions, nm.
    triples : Triples
        Straight triples.
    directions : list of float
        K row directions, degrees, the best supported first.
    min_columns : int
        Fewest columns of a domain.
    beside : numpy.ndarray
        (N, K) bool, what `beside_rows` says of the directions.
    """
    n = len(yx_nm)
    support = np.zeros((n, len(directions)))
    angle = angles_deg(triples.vector)
    for k, direction in enumerate(directions):
        support[triples.column[turn_deg(angle, direction) < DIRECTION_WIDTH_DEG], k] = 1.0
    has_any = support.any(axis=1)
    exclusive = support * (support.sum(axis=1, keepdims=True) == 1) * ~beside
    tree = cKDTree(yx_nm)
    _, near = tree.query(yx_nm, k=min(FRAME_NEIGHBOURS, n))
    near = near.reshape(n, -1)
    stripes = exclusive[near].sum(axis=1)
    # A real domain is a place where its stripes dominate; the scattered single directions at surfaces are not.
    dominant = np.where(stripes.max(axis=1) >= 0.5 * near.shape[1], stripes.argmax(axis=1), -1)
    sizes = np.array([(dominant == k).sum() for k in range(len(directions))])
    real = np.flatnonzero(sizes >= min_columns)
    if len(real) == 0:
        # All bright everywhere: the direction of what stripes there are, or that most columns agree on.
        best = int(exclusive.sum(axis=0).argmax())
        seed = np.where(support[:, best] > 0, best, -1)
    else:
        seed = np.where(np.isin(dominant, real), dominant, -1)
    seeds = np.flatnonzero(seed >= 0)
    if len(seeds) == 0:
        return np.full(n, -1)
    _, nearest = cKDTree(yx_nm[seeds]).query(yx_nm)
    follows = seed[seeds][nearest]
    # A column belongs only where the direction is seen around it at all.
    local = support[near].mean(axis=1)
    return np.where(has_any | (local[np.arange(n), follows] > 0.2), follows, -1)


def local_rows(yx_nm: np.ndarray, triples: Triples, directions: list[float], follows: np.ndarray) -> np.ndarray:
    """(N, 2) local row vector: the median over the nearest triples of the same direction."""
    rows = np.full((len(yx_nm), 2), np.nan)
    angle = angles_deg(triples.vector)
    for k, direction in enumerate(directions):
        mine = np.flatnonzero(follows == k)
        own = (turn_deg(angle, direction) < DIRECTION_WIDTH_DEG) & (follows[triples.column] == k)
        if len(mine) == 0 or own.sum() < 3:
            continue
        axis = np.array([np.sin(np.deg2rad(direction)), np.cos(np.deg2rad(direction))])
        vector = triples.vector[own]
        vector = vector * np.sign(vector @ axis)[:, None]
        tree = cKDTree(yx_nm[triples.column[own]])
        _, near = tree.query(yx_nm[mine], k=min(FRAME_NEIGHBOURS, int(own.sum())))
        rows[mine] = np.median(vector[near.reshape(len(mine), -1)], axis=1)
    return rows


def alike(one: np.ndarray, other: np.ndarray, factor: float) -> np.ndarray:
    """(n,) bool, amplitudes that differ by less than a factor; one without light, given up by the fit, is like none."""
    return np.asarray(np.maximum(one, other) < factor * np.minimum(one, other))


def stack_pairs(
    yx_nm: np.ndarray, amplitude: np.ndarray, row: np.ndarray, domain: np.ndarray, ratio_range: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs (lower, upper) of like columns one TM layer apart, with lateral and normal distance in local periods.

    "Upper" is the side of the frame's normal. Each column is paired with its laterally nearest partner on either side.
    """
    period = np.linalg.norm(row, axis=1)
    known = np.flatnonzero(domain >= 0)
    if len(known) < 2:
        empty = np.zeros(0)
        return np.zeros((0, 2), dtype=int), empty, empty
    low, high = ratio_range[0] - RATIO_SCATTER, ratio_range[1] + RATIO_SCATTER
    reach = np.nanmax(period) * np.hypot(high, 0.62)
    pairs = known[cKDTree(yx_nm[known]).query_pairs(reach, output_type="ndarray")]
    pairs = pairs[domain[pairs[:, 0]] == domain[pairs[:, 1]]]
    delta = yx_nm[pairs[:, 1]] - yx_nm[pairs[:, 0]]
    mean_row = 0.5 * (row[pairs[:, 0]] + row[pairs[:, 1]])
    p = np.linalg.norm(mean_row, axis=1)
    along = (delta * mean_row).sum(axis=1) / p**2
    across = (delta[:, 0] * mean_row[:, 1] - delta[:, 1] * mean_row[:, 0]) / p**2
    swap = across < 0
    pairs[swap] = pairs[swap][:, ::-1]
    along, across = np.where(swap, -along, along), np.abs(across)
    like = alike(amplitude[pairs[:, 0]], amplitude[pairs[:, 1]], LIKE_LAYERS)
    keep = (across >= low) & (across <= high) & (np.abs(along) <= 0.6) & like
    pairs, along, across = pairs[keep], along[keep], across[keep]
    keep = _usual_spacing(0.5 * (yx_nm[pairs[:, 0]] + yx_nm[pairs[:, 1]]), across, ratio_range)
    return pairs[keep], along[keep], across[keep]


def _usual_spacing(middle_nm: np.ndarray, across: np.ndarray, ratio_range: tuple[float, float]) -> np.ndarray:
    """(P,) bool: where the layers around have the spacing of a layered oxide, and the pair scatters no more about it.

    The spacing of one pair carries the noise of two columns, 3 to 4 % in ordinary scans: a hard bound on single pairs
    would leave holes in the rows of crystals near either end of the range.
    """
    if len(across) == 0:
        return np.zeros(0, dtype=bool)
    _, near = cKDTree(middle_nm).query(middle_nm, k=min(FRAME_NEIGHBOURS, len(across)))
    typical = np.median(across[near.reshape(len(across), -1)], axis=1)
    usual = (typical >= ratio_range[0]) & (typical <= ratio_range[1])
    return np.asarray(usual & (np.abs(across - typical) < RATIO_SCATTER))


def find_frames(yx_nm: np.ndarray, amplitude: np.ndarray, config: ClassifyConfig) -> Frames:
    """Follow the cation rows of every domain.

    Parameters
    ----------
    yx_nm : numpy.ndarray
        (N, 2) column positions, nm.
    amplitude : numpy.ndarray
        (N,) column amplitudes, positive.
    config : ClassifyConfig
        Settings.

    Returns
    -------
    Frames
        With every domain -1 when nothing looks like a layered oxide down the close-packed zone.
    """
    n = len(yx_nm)
    nothing = Frames(np.full((n, 2), np.nan), np.full(n, np.nan), np.full(n, -1), ())
    if n < config.min_domain_columns:
        return nothing
    triples = find_triples(yx_nm, amplitude, row_periods_nm(config))
    directions = candidate_directions(triples, config.min_domain_columns)
    if not directions:
        return nothing
    beside = beside_rows(yx_nm, amplitude, row_periods_nm(config), directions)
    domain = assign_directions(yx_nm, triples, directions, config.min_domain_columns, beside=beside)
    row = local_rows(yx_nm, triples, directions, domain)
    domain = np.where(np.isfinite(row[:, 0]), domain, -1)
    return _with_layers(yx_nm, amplitude, row, domain, config)


def _with_layers(
    yx_nm: np.ndarray, amplitude: np.ndarray, row: np.ndarray, domain: np.ndarray, config: ClassifyConfig
) -> Frames:
    """Layer spacing, shear and renumbering of the domains whose stacking is a layered oxide's."""
    layer = np.full(len(yx_nm), np.nan)
    renumbered = np.full(len(yx_nm), -1)
    offsets: list[ShiftOffset] = []
    pairs, along, across = stack_pairs(yx_nm, amplitude, row, domain, config.ratio_range)
    nearest = cKDTree(yx_nm).query(yx_nm, k=2)[0][:, 1] / np.linalg.norm(row, axis=1)
    for k in np.argsort([-(domain == d).sum() for d in range(domain.max(initial=-1) + 1)]):
        mine = domain == k
        own = mine[pairs[:, 0]]
        if mine.sum() < config.min_domain_columns or own.sum() < 0.25 * mine.sum():
            continue
        if np.median(nearest[mine]) < NEAREST_NEIGHBOUR:
            continue
        middle = 0.5 * (yx_nm[pairs[own, 0]] + yx_nm[pairs[own, 1]])
        offset = stacking_offset(along[own], middle)
        if offset is None:
            continue
        if _all_bright_and_straight(yx_nm, amplitude, pairs[own], along[own] - offset.at(middle)):
            continue
        spacing = across[own] * np.linalg.norm(row[pairs[own, 0]], axis=1)
        _, near = cKDTree(middle).query(yx_nm[mine], k=min(FRAME_NEIGHBOURS, len(middle)))
        layer[mine] = np.median(spacing[near.reshape(int(mine.sum()), -1)], axis=1)
        renumbered[mine] = len(offsets)
        offsets.append(offset)
    kept = renumbered >= 0
    return Frames(np.where(kept[:, None], row, np.nan), layer, renumbered, tuple(offsets))


def _all_bright_and_straight(yx_nm: np.ndarray, amplitude: np.ndarray, pairs: np.ndarray, shift: np.ndarray) -> bool:
    """Whether rows stand straight above each other with a like-bright column between them.

    No layered oxide does: rows without a shift are O1, whose interlayer is dim, and rocksalt is shifted. Square and
    hexagonal lattices of one kind of column do.
    """
    straight = np.abs(shift) < 1 / 6
    if straight.mean() < 0.5:
        return False
    pairs = pairs[straight]
    distance, between = cKDTree(yx_nm).query(0.5 * (yx_nm[pairs[:, 0]] + yx_nm[pairs[:, 1]]))
    spacing = np.linalg.norm(yx_nm[pairs[:, 1]] - yx_nm[pairs[:, 0]], axis=1)
    # Straight above (square) or half a period beside (hexagonal: 0.29 of the spacing) the middle of the pair.
    near = distance < 0.35 * spacing
    return bool((near & (amplitude[between] > TRIPLE_BRIGHTNESS * amplitude[pairs].mean(axis=1))).mean() > 0.5)

"""Light between columns that no column accounts for: oxygen and other light atoms, too dim to be found one by one.

A dim column 0.14 nm from oxygen can not tell its own light from the oxygen's, and nobody can for it alone: with the
oxygen unknown its position has no bound of use. All pairs of columns of one kind together can. What stands between the
two is the same for each, and there are hundreds of them: its brightness and where it stands are three numbers for the
image. They are estimated from a sample of columns, and the light is taken out of the image before the fit.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.ndimage import gaussian_filter, maximum_filter
from scipy.spatial import cKDTree

from atomseg.localize.model import AMPLITUDE, LEVEL, P_XX, P_YX, P_YY, SLOPE_X, SLOPE_Y, Fit, X, Y, draw, residual
from atomseg.localize.normal import Problem, normal_equations
from atomseg.localize.solve import Solved, resume
from atomseg.localize.windows import FWHM_PER_SIGMA, Canvas

# Pairs with something between them: oxygen stands 0.14 to 0.23 nm from the columns on its two sides. Nothing else than
# the pair may be closer to the middle than this.
SHORTEST_NM, LONGEST_NM, CLEAR_NM = 0.265, 0.46, 0.10
# Histogram of the pairs' vectors: bins, smoothing in bins; how far vectors of a kind scatter.
BIN_NM, SMOOTH_BINS, SCATTER_NM = 0.01, 2.0, 0.05
# A kind of pair has at least so many members, and as a share of the columns.
LEAST_PAIRS, LEAST_SHARE = 30, 0.1
# Around a column a kind is at home that has half as many pairs as the most frequent one within this distance.
HOME_NM = 1.2
# Columns around a place, of which the brighter ones are what its light is counted in.
AROUND, BRIGHT_PERCENT = 8, 75.0
# Places closer than this are one.
SAME_PLACE_NM = 0.08
# One end is the brighter one from this ratio.
BRIGHTER = 1.5
# Pairs around one whose mean vector is that of its kind here: strain and bending are the same over so many.
LOCAL_PAIRS = 8
# Windows of the places, in full widths: their columns are further away.
WINDOW_FWHM = 0.75
# Columns that enclose a place.
ENCLOSING = 6
# Of a kind's light that is taken out, this part is seen to be gone: what is expected, and what is possible; the rest
# had been taken by the columns around. How often it is taken out.
USUAL_RESPONSE, RESPONSES, TURNS = 0.7, (0.25, 1.0), 2
# Light is believed from this many errors and up to this share of a bright column; places are moved at most so far.
LEAST_ERRORS, MOST_LIGHT, LONGEST_SHIFT_NM = 3.0, 0.35, 0.02


@dataclass(frozen=True)
class Kind:
    """Pairs of one kind and the light between them.

    Parameters
    ----------
    vector_nm : numpy.ndarray
        (2,) from one column to the other (y, x); the opposite vector is the same kind.
    share : float
        Peak of the light between them, of that of the bright columns around it.
    shift_nm : numpy.ndarray
        (2,) from the middle, for pairs that begin at the brighter column; the opposite for those that end at it.
    """

    vector_nm: np.ndarray
    share: float
    shift_nm: np.ndarray


@dataclass(frozen=True)
class Places:
    """Where the light of some kinds of pairs is expected.

    `middle_nm` (n, 2), `kind` (n,) index, `bright` (n,) amplitude of the bright columns around, `side` (n,) 1 or -1
    where the pair begins or ends at the brighter column, 0 where both are alike.
    """

    middle_nm: np.ndarray
    kind: np.ndarray
    bright: np.ndarray
    side: np.ndarray

    def take(self, some: np.ndarray) -> "Places":
        """Some of them."""
        return Places(self.middle_nm[some], self.kind[some], self.bright[some], self.side[some])

    def columns(self, kinds: list[Kind], shape: tuple[float, float, float], like: Fit) -> Fit:
        """The light as columns of one shape (precisions yy, xx, yx), in the units and on the device of a fit."""
        share = np.array([k.share for k in kinds])[self.kind]
        shift = np.array([k.shift_nm for k in kinds]).reshape(-1, 2)[self.kind]
        values = torch.zeros(len(self.kind), 7, device=like.shape.device)
        values[:, 0] = torch.from_numpy(share * self.bright)
        values[:, [p - AMPLITUDE for p in (P_YY, P_XX, P_YX)]] = torch.tensor(shape, device=like.shape.device)
        yx_nm = torch.from_numpy(self.middle_nm + self.side[:, None] * shift).to(like.yx_nm.device)
        return Fit(yx_nm, values, like.unit_nm)


def pair_vectors(yx_nm: np.ndarray) -> np.ndarray:
    """(k, 2) vectors of the kinds of pairs of neighbouring columns that have room between them, the shortest first.

    Parameters
    ----------
    yx_nm : numpy.ndarray
        (N, 2) columns, nm.
    """
    if len(yx_nm) < LEAST_PAIRS:
        return np.zeros((0, 2))
    pair = cKDTree(yx_nm).query_pairs(LONGEST_NM, output_type="ndarray")
    vector = yx_nm[pair[:, 1]] - yx_nm[pair[:, 0]]
    edge = np.arange(-LONGEST_NM - 0.05, LONGEST_NM + 0.05 + BIN_NM, BIN_NM)
    both = np.concatenate([vector, -vector])
    count = gaussian_filter(np.histogram2d(both[:, 0], both[:, 1], bins=[edge, edge])[0], SMOOTH_BINS)
    least = max(LEAST_PAIRS, LEAST_SHARE * len(yx_nm)) / (4.0 * np.pi * SMOOTH_BINS**2)
    peak = (edge[:-1] + 0.5 * BIN_NM)[np.argwhere((count == maximum_filter(count, size=9)) & (count > least))]
    length = np.hypot(*peak.T)
    half = (peak[:, 0] > 1e-9) | ((np.abs(peak[:, 0]) <= 1e-9) & (peak[:, 1] > 0))
    chosen = half & (length > SHORTEST_NM) & (length < LONGEST_NM - SCATTER_NM)
    return np.asarray(peak[chosen][np.argsort(length[chosen])])


def places(
    yx_nm: np.ndarray, light: np.ndarray, vectors: np.ndarray, others_nm: np.ndarray, size_nm: np.ndarray
) -> Places:
    """Places between columns, and beside columns whose partner is not seen but that have such pairs around them.

    Parameters
    ----------
    yx_nm, light : numpy.ndarray
        (N, 2) columns, nm, and (N,) their amplitudes; at least `LEAST_PAIRS`.
    vectors : numpy.ndarray
        (k, 2) of `pair_vectors`.
    others_nm : numpy.ndarray
        (M, 2) all columns, those among them: no place is at one of these.
    size_nm : numpy.ndarray
        (2,) height and width of the image: beyond its border columns go on unseen.
    """
    if not len(vectors):
        return Places(np.zeros((0, 2)), np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0))
    tree, occupied = cKDTree(yx_nm), cKDTree(others_nm)
    pair = tree.query_pairs(LONGEST_NM, output_type="ndarray")
    members = [_members(yx_nm, light, pair, vector) for vector in vectors]
    near = np.array([_count(yx_nm, middle) for middle, _, _ in members])
    home = near >= np.maximum(0.5 * near.max(axis=0), 1.0)
    of_pairs = [(middle, _brighter(light[start], light[end])) for middle, start, end in members]
    # A column of a pair whose partner is not seen is the brighter end: a place ahead of it begins there.
    guessed = [
        (yx_nm[here] + sign * 0.5 * vector, np.full(here.sum(), sign))
        for vector, here in zip(vectors, home, strict=True)
        for sign in (1.0, -1.0)
    ]
    number = np.arange(len(vectors))
    kind = np.repeat([*number, *np.repeat(number, 2)], [len(side) for _, side in (*of_pairs, *guessed)])
    at, side = (np.concatenate(values) for values in zip(*of_pairs, *guessed, strict=True))
    order = np.flatnonzero(occupied.query(at)[0] > CLEAR_NM)
    # Of several at one place the first stays, of a pair if there is one: the tree names the earlier one first.
    order = np.delete(order, cKDTree(at[order]).query_pairs(SAME_PLACE_NM, output_type="ndarray")[:, 1])
    at_border = ((at[order] < LONGEST_NM) | (at[order] > size_nm - LONGEST_NM)).any(axis=1)
    order = order[at_border | _enclosed(at[order], yx_nm, tree)]
    bright = np.percentile(light[tree.query(at[order], k=AROUND)[1]], BRIGHT_PERCENT, axis=1)
    return Places(at[order], kind[order], bright, side[order])


def _enclosed(at_nm: np.ndarray, yx_nm: np.ndarray, tree: cKDTree) -> np.ndarray:
    """(n,) bool, no half plane at a place is without a column: what lies before a surface is vacuum."""
    distance, which = tree.query(at_nm, k=2 * AROUND)
    away = yx_nm[which] - at_nm[:, None]
    angle = np.arctan2(away[..., 0], away[..., 1])
    # A column too far away repeats the nearest one's direction.
    angle = np.sort(np.where(distance < LONGEST_NM, angle, angle[:, :1]), axis=1)
    gap = np.diff(angle, axis=1, append=angle[:, :1] + 2.0 * np.pi)
    return np.asarray(gap.max(axis=1) < np.pi)


def _members(
    yx_nm: np.ndarray, light: np.ndarray, pair: np.ndarray, typical: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n, 2) middles of the pairs with a vector, and (n,) columns at which they begin and end.

    The middle is told by both ends, each by half of the vector that the pairs around have, and counts as their places
    do, whose variance goes with one over the light squared. A middle that followed the noise of a dim column would draw
    light there that holds the column where its noise has put it.
    """
    vector = yx_nm[pair[:, 1]] - yx_nm[pair[:, 0]]
    sign = np.where(vector @ typical < 0, -1.0, 1.0)
    some = np.hypot(*(sign[:, None] * vector - typical).T) < SCATTER_NM
    start, end = np.where(sign[some] > 0, pair[some].T, pair[some].T[::-1])
    between, middle = yx_nm[end] - yx_nm[start], 0.5 * (yx_nm[start] + yx_nm[end])
    if not len(middle):
        return middle, start, end
    near = cKDTree(middle).query(middle, k=min(LOCAL_PAIRS, len(middle)))[1].reshape(len(middle), -1)
    excess = between - between[near].mean(axis=1)
    first, second = light[start] ** 2, light[end] ** 2
    lean = (first - second) / np.maximum(first + second, 1e-12)
    return middle - 0.5 * lean[:, None] * excess, start, end


def _brighter(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """(n,) 1 or -1 where pairs begin or end at the brighter column, 0 where both are alike."""
    contrast = np.log(np.maximum(start, 1e-6) / np.maximum(end, 1e-6))
    return np.asarray(np.sign(contrast) * (np.abs(contrast) > np.log(BRIGHTER)))


def _count(yx_nm: np.ndarray, middle_nm: np.ndarray) -> np.ndarray:
    """(N,) middles within `HOME_NM` of each column."""
    if not len(middle_nm):
        return np.zeros(len(yx_nm))
    return np.asarray(cKDTree(middle_nm).query_ball_point(yx_nm, HOME_NM, return_length=True), dtype=np.float64)


@dataclass(frozen=True)
class _Seen:
    """Light of one kind that is not drawn yet: share, share times shift (nm), and how many errors the share is."""

    share: float
    moment_nm: np.ndarray
    errors: float


def find_kinds(problem: Problem, solved: Solved, seeds_nm: np.ndarray, sample: np.ndarray) -> tuple[list[Kind], Fit]:
    """Kinds of pairs with light between them, and the sample's columns without that light.

    The columns around a place have taken a part of its light as their own. So it is taken out as far as it is seen,
    the columns are fitted again, and what is seen then tells how much of the whole that was.

    Parameters
    ----------
    problem : Problem
        The sample's image, windows and weights. Its prior must leave shapes free: columns that are held to a shape that
        was learned with the light do not give it back.
    solved : Solved
        The sample's joint fit.
    seeds_nm : numpy.ndarray
        (N, 2) all columns of the image, nm.
    sample : numpy.ndarray
        (n,) indices of the fitted ones.
    """
    vectors, fit = pair_vectors(seeds_nm), solved.fit
    if not len(vectors):
        return [], fit
    expected = _expected(fit, vectors, seeds_nm, problem.canvas)
    known = np.append(np.isin(np.arange(len(seeds_nm)), sample[~solved.failed.cpu().numpy()]), False)
    told = known[cKDTree(seeds_nm).query(expected.middle_nm, k=ENCLOSING)[1]].all(axis=1)
    at = [expected.take(told & (expected.kind == k)) for k in range(len(vectors))]
    kinds = [Kind(vector, 0.0, np.zeros(2)) for vector in vectors]
    state = resume(problem, replace(solved, left=solved.left.clone(), iterations=0), ~solved.failed)
    seen = [_seen(problem, state.left, some, kind, fit) for some, kind in zip(at, kinds, strict=True)]
    believed = np.array([s.errors > LEAST_ERRORS and s.share < MOST_LIGHT for s in seen])
    if not believed.any():
        return [], fit
    drawn, response = kinds, np.full(len(kinds), USUAL_RESPONSE)
    for turn in range(TURNS):
        if turn > 0:
            before = seen
            seen = [_seen(problem, state.left, some, kind, fit) for some, kind in zip(at, kinds, strict=True)]
            response = np.array([_response(*each) for each in zip(drawn, kinds, before, seen, strict=True)])
        drawn = kinds
        kinds = [
            _corrected(kind, s, r) if ok else kind
            for kind, s, r, ok in zip(drawn, seen, response, believed, strict=True)
        ]
        lighter = without(problem, expected.columns(kinds, problem.prior.shape, fit))
        left = residual(lighter.canvas, state.fit, problem.workers)
        state = resume(lighter, replace(state, left=left, iterations=0), ~solved.failed)
    return [kind for kind, ok in zip(kinds, believed, strict=True) if ok], state.fit


def _response(drawn: Kind, more: Kind, before: _Seen, after: _Seen) -> float:
    """Part of the light that was taken out in addition by which less is seen now."""
    step = more.share - drawn.share
    if abs(step) < 0.1 * more.share or step == 0.0:
        return USUAL_RESPONSE
    return float(np.clip((before.share - after.share) / step, *RESPONSES))


def _corrected(kind: Kind, seen: _Seen, response: float) -> Kind:
    """The kind with what is seen beyond it, where of its light that is taken out `response` is seen to be gone."""
    share = float(np.clip(kind.share + seen.share / response, 1e-4, MOST_LIGHT))
    shift = kind.shift_nm + seen.moment_nm / (response * share)
    shift *= min(1.0, LONGEST_SHIFT_NM / max(float(np.hypot(*shift)), 1e-9))
    return Kind(kind.vector_nm, share, shift)


def _expected(fit: Fit, vectors: np.ndarray, others_nm: np.ndarray, canvas: Canvas) -> Places:
    """`places` between the columns of a fit."""
    light = fit.get(AMPLITUDE).cpu().numpy().astype(np.float64)
    size_nm = np.asarray(canvas.shape) * np.asarray(canvas.step_nm)
    return places(fit.yx_nm.cpu().numpy(), light, vectors, others_nm, size_nm)


def unlisted(fit: Fit, kinds: list[Kind], shape: tuple[float, float, float], canvas: Canvas) -> Fit:
    """The light of the kinds between the columns of a fit whose amplitudes are known, as columns of a common shape."""
    vectors = np.array([k.vector_nm for k in kinds]).reshape(-1, 2)
    return _expected(fit, vectors, fit.yx_nm.cpu().numpy(), canvas).columns(kinds, shape, fit)


def without(problem: Problem, light: Fit) -> Problem:
    """The problem of an image from which light is taken out."""
    image = problem.canvas.image.reshape(-1).clone()
    draw(image, problem.canvas, light, -1.0, problem.workers)
    return replace(problem, canvas=replace(problem.canvas, image=image.view(problem.canvas.image.shape)))


def _seen(problem: Problem, left: torch.Tensor, some: Places, kind: Kind, like: Fit) -> _Seen:
    """What is `left` of the light of one kind, beyond what is drawn of it, at some of its places.

    The unknowns are common to all places, the share and its product with the shift, but for the background, of which
    each has its own.
    """
    n = len(some.kind)
    if n < LEAST_PAIRS:
        return _Seen(0.0, np.zeros(2), 0.0)
    some = replace(some, kind=np.zeros(n, dtype=np.int64))
    light = some.columns([replace(kind, share=1.0)], problem.prior.shape, like)
    reach_nm = max(WINDOW_FWHM * FWHM_PER_SIGMA * light.unit_nm, 2.3 * max(problem.canvas.step_nm))
    radius = torch.full((n,), reach_nm, dtype=torch.float64, device=left.device)
    rows = torch.arange(n, device=left.device)
    normal = normal_equations(replace(problem, radius_nm=radius), light, left, rows)
    order = [AMPLITUDE, Y, X, LEVEL, SLOPE_Y, SLOPE_X]
    curvature, gradient = normal.curvature.double()[:, order][:, :, order], normal.gradient.double()[:, order, None]
    common, own = slice(0, 3), slice(3, 6)
    # A place at the image's border has no pixel for a background: it says nothing.
    inner = curvature[:, own, own] + 1e-6 * torch.eye(3, dtype=curvature.dtype, device=left.device)
    taken = torch.linalg.solve(inner, torch.cat([curvature[:, own, common], gradient[:, own]], dim=2))
    side = torch.from_numpy(some.side).to(curvature)
    factor = torch.stack([light.get(AMPLITUDE).double(), side, side], dim=1)
    known = curvature[:, common, common] - curvature[:, common, own] @ taken[:, :, :3]
    score = gradient[:, common] - curvature[:, common, own] @ taken[:, :, 3:]
    system = (factor[:, :, None] * known * factor[:, None, :]).sum(0) + 1e-9 * torch.eye(
        3, dtype=curvature.dtype, device=left.device
    )
    told_nothing = torch.linalg.inv(system)
    answer = (told_nothing @ (factor[:, :, None] * score).sum(0))[:, 0].cpu().numpy()
    error = float(told_nothing[0, 0]) ** 0.5
    return _Seen(float(answer[0]), answer[1:] * light.unit_nm, float(answer[0]) / error)

"""What the mosaics show, drawn at random: specimens of stacked layers with surfaces, and how they are imaged."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_filter1d

# Two stackings fade into each other over so many nm.
STACK_BLEND_NM = 0.12
# Surfaces and fronts are given at points so far apart along the face, nm.
FACE_STEP_NM = 0.05
KINDS = ("edge", "edge", "crack", "bulk")
LAYERS_NM = ((0.0, 0.0), (1.0, 4.0), (4.0, 10.0), (10.0, 24.0))
MOST_PIXELS = 1150


@dataclass(frozen=True)
class Stack:
    """Layers one above the other: `o1` (n,) bool a gap, `offset` (n + 1,) columns by which each layer is shifted."""

    o1: np.ndarray
    offset: np.ndarray


@dataclass(frozen=True)
class Plan:
    """A specimen and how it is imaged; lengths in nm, (y, x) of the image without jitter."""

    kind: str
    side: int
    pixel: float
    angle: float
    origin: np.ndarray
    column: float
    layer: float
    sense: int
    first: int
    stacks: tuple[Stack, ...]
    ends: np.ndarray
    normal: np.ndarray
    gap: float
    rough: tuple[np.ndarray, ...]
    depth: tuple[np.ndarray, ...]
    front: float
    surface: float
    bulk: float
    patches: np.ndarray | None
    foil: tuple[float, float, float]
    blur: float
    counts: float
    background: float
    film: float
    jitter: tuple[float, float]
    bend: tuple[float, float]
    seed: int
    layer_nm: float

    @property
    def field_nm(self) -> float:
        """Side of the image."""
        return self.side * self.pixel

    def along_face(self, yx: np.ndarray) -> np.ndarray:
        """Distance along the surface from its middle."""
        return (yx - 0.5 * self.field_nm) @ np.array([-self.normal[1], self.normal[0]])

    def below(self, yx: np.ndarray, values: tuple[np.ndarray, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Face that each point belongs to, and a face's `values` (along it, `FACE_STEP_NM` apart) there."""
        across = (yx - self.origin) @ self.normal
        face = ((across < 0) & (len(values) > 1)).astype(int)
        at = np.clip(
            np.round(self.along_face(yx) / FACE_STEP_NM).astype(int) + len(values[0]) // 2, 0, len(values[0]) - 1
        )
        return face, np.stack(values)[face, at]

    def inside(self, yx: np.ndarray) -> np.ndarray:
        """Depth below the surface, negative outside."""
        if self.kind == "bulk":
            return np.full(yx.shape[:-1], 1e3)
        across = (yx - self.origin) @ self.normal
        face, rough = self.below(yx, self.rough)
        return np.where(face == 1, -across, across) - 0.5 * self.gap - rough

    def occupancy(self, yx: np.ndarray) -> np.ndarray:
        """Mean Ni fraction of the interlayer sites."""
        if self.kind == "bulk" or not self.layer_nm:
            return np.full(yx.shape[:-1], self.bulk)
        deep = self.inside(yx)
        _, front = self.below(yx, self.depth)
        x = self.bulk + (self.surface - self.bulk) / (1.0 + np.exp(np.clip((deep - front) / self.front, -40, 40)))
        if self.patches is None:
            return x
        at = np.clip(np.round(yx / self.pixel).astype(int), 0, self.side - 1)
        island = self.patches[at[..., 0], at[..., 1]] & (deep < front - 0.6) & (deep > 0.6)
        return np.where(island, self.bulk, x)

    def lattice(self, yx: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(along the rows in columns, across them in layers)."""
        s, c = np.sin(self.angle), np.cos(self.angle)
        out = yx - self.origin
        return (out @ np.array([s, c])) / self.column * self.sense, (out @ np.array([c, -s])) / self.layer

    def place(self, along: np.ndarray, across: np.ndarray) -> np.ndarray:
        """Points from lattice coordinates."""
        s, c = np.sin(self.angle), np.cos(self.angle)
        u, v = along * self.column * self.sense, across * self.layer
        return self.origin + np.stack([u * s + v * c, u * c - v * s], axis=-1)

    def stack_shares(self, along: np.ndarray) -> list[np.ndarray]:
        """Share of each stack in the light of a place, by where it lies along the rows."""
        rises = [0.5 * (1 + np.tanh((along - end) * self.column / STACK_BLEND_NM)) for end in self.ends]
        edges = [np.ones_like(along), *rises, np.zeros_like(along)]
        return [before - after for before, after in pairwise(edges)]


def draw_plan(number: int, seed: int) -> Plan:
    """What scene `number` shows: kind and thickness of the layer go in turn, all else is random."""
    rng = np.random.default_rng([seed, number])
    kind = KINDS[number % len(KINDS)]
    low, high = LAYERS_NM[(number // len(KINDS)) % len(LAYERS_NM)]
    layer_nm = 0.0 if kind == "bulk" else float(rng.uniform(low, high))
    field_nm = min(36.0, float(rng.uniform(9.0, 14.0) + layer_nm * rng.uniform(0.9, 1.5) * (1 + (kind == "crack"))))
    pixel = max(float(np.exp(rng.uniform(np.log(0.010), np.log(0.034)))), field_nm / MOST_PIXELS)
    side = round(field_nm / pixel)
    gap = float(rng.uniform(1.0, 4.0)) if kind == "crack" else 0.0
    heading = rng.uniform(0, 2 * np.pi)
    normal = np.array([np.sin(heading), np.cos(heading)])
    middle = np.full(2, 0.5 * field_nm)
    shift = 0.0 if kind != "edge" else 0.5 * field_nm - rng.uniform(1.5, 3.0)
    n = 2 * round(field_nm / FACE_STEP_NM) + 1
    steep = float(rng.uniform(0.0, 0.5))
    faces = 2 if kind == "crack" else 1
    rough = tuple(_wave(rng, n, 1.5, steep) for _ in range(faces))
    scale = [1.0, float(rng.uniform(0.6, 1.4))]
    uneven = float(rng.uniform(0.0, 0.15)) * layer_nm
    depth = tuple(np.maximum(layer_nm * scale[f] + _wave(rng, n, 3.0, uneven), 0.0) for f in range(faces))
    layer = float(rng.uniform(0.462, 0.482))
    # The image's diagonal on both sides of the origin, wherever that is.
    count = 2 * int(1.45 * field_nm / layer) + 8
    stacks, ends = _stacks(rng, count, field_nm, faulty=bool(rng.random() < 0.45), ended=bool(rng.random() < 0.5))
    patchy = layer_nm > 5.0 and rng.random() < 0.3
    most = float(rng.uniform(6.0, 22.0))
    return Plan(
        kind=kind,
        side=side,
        pixel=pixel,
        angle=float(rng.uniform(0, 2 * np.pi)),
        origin=middle - shift * normal,
        column=float(rng.uniform(0.2455, 0.2515)),
        layer=layer,
        sense=int(rng.choice([-1, 1])),
        first=-(count // 2),
        stacks=stacks,
        ends=ends,
        normal=normal,
        gap=gap,
        rough=rough,
        depth=depth,
        front=float(rng.uniform(0.05, 0.45)),
        surface=float(rng.uniform(0.85, 1.0)),
        bulk=float(rng.uniform(0.0, 0.1)),
        patches=_islands(rng, side, pixel) if patchy else None,
        foil=(float(rng.uniform(2.0, 1.0 * most)), most, float(rng.uniform(0.1, 0.8))),
        blur=float(rng.uniform(0.028, 0.045)),
        counts=float(np.exp(rng.uniform(np.log(200.0), np.log(1e4)))),
        background=float(rng.uniform(0.0, 0.3)),
        film=float(rng.uniform(0.03, 0.3)) if rng.random() < 0.5 else 0.0,
        jitter=(float(rng.uniform(0.0, 0.006)), float(rng.uniform(0.0, 0.010))),
        bend=(float(rng.uniform(0.0, 0.08)), float(rng.uniform(0, 6.3))),
        seed=int(rng.integers(2**31)),
        layer_nm=layer_nm,
    )


def _wave(rng: np.random.Generator, n: int, length_nm: float, rms: float) -> np.ndarray:
    """Smooth random line, `FACE_STEP_NM` a step, of this correlation length and rms."""
    wave = gaussian_filter1d(rng.normal(size=n), length_nm / FACE_STEP_NM, mode="wrap")
    return np.asarray(rms * (wave - wave.mean()) / wave.std())


def _islands(rng: np.random.Generator, side: int, pixel: float) -> np.ndarray:
    """(H, W) bool, a third of the area, in islands of some nm."""
    wave = gaussian_filter(rng.normal(size=(side, side)), 1.2 / pixel, mode="wrap")
    return np.asarray(wave > np.quantile(wave, 0.67))


def _stacks(
    rng: np.random.Generator, count: int, field_nm: float, *, faulty: bool, ended: bool
) -> tuple[tuple[Stack, ...], np.ndarray]:
    """Stackings side by side, and where one ends and the next begins, in columns along the rows."""
    parts = int(rng.integers(2, 4)) if faulty and ended else 1
    stacks = []
    for _ in range(parts):
        o1 = np.zeros(count, dtype=bool)
        for _ in range(int(rng.integers(1, 5)) if faulty else 0):
            start = int(rng.integers(count // 4, 3 * count // 4))
            o1[start : start + int(rng.choice([1, 1, 2, 3]))] = True
        offset = np.concatenate([[0.0], np.cumsum(np.where(o1, 0.0, 1 / 3))])
        stacks.append(Stack(o1, offset))
    ends = np.sort(rng.uniform(-0.3, 0.3, parts - 1)) * field_nm / 0.2485
    return tuple(stacks), ends

"""The specimen of one scene: which crystal is where."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from atomseg.simulate.cathode import Lattice, Reconstruction, build_cathode, draw_lattice, draw_strain
from atomseg.simulate.config import SceneConfig
from atomseg.simulate.defects import Defects, draw_defects, with_vacancies, without_missing
from atomseg.simulate.dislocations import clear_faults, lattice_dislocations, layered_dislocations
from atomseg.simulate.faults import Fault, draw_faults
from atomseg.simulate.foil import Foil, draw_foil
from atomseg.simulate.layer import MOST_MIXED, Layer, draw_layers
from atomseg.simulate.occupation import settle_occupancy
from atomseg.simulate.other import build_planar, draw_planar, turned
from atomseg.simulate.sampling import happens, uniform
from atomseg.simulate.specimen import LINE, Sites, View, empty_sites, join, plain_sites
from atomseg.simulate.surface import Outline, draw_outline

SecondDomain = Literal["none", "twin", "variant", "grain"]
# Two layered variants on <111> planes of one rocksalt parent stand at the angle between {111} planes.
VARIANT_DEG = 70.53
# Distance that two domains keep from their common boundary, nm.
BOUNDARY_NM = 0.09


@dataclass(frozen=True)
class Boundary:
    """Straight boundary of two domains; the second is where the signed distance is positive."""

    normal_yx: tuple[float, float]
    offset_nm: float

    def side_nm(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Signed distance from the boundary, nm."""
        return np.asarray(self.normal_yx[0] * y + self.normal_yx[1] * x - self.offset_nm)


@dataclass(frozen=True)
class Structure:
    """Everything that stands in the beam.

    Parameters
    ----------
    sites : Sites
        All columns, faces cut, signals relative to a full column.
    thickness_nm : numpy.ndarray
        (N,) foil thickness at each column.
    outline : Outline
        Faces of the crystal.
    foil : Foil
        Thickness.
    kind : str
        cathode, other or nothing.
    name : str
        Crystal and zone axis.
    lattices : tuple of Lattice
        The layered domains, the first one first; empty for other lattices.
    layers : tuple of Layer
        A reconstruction layer for each face.
    faults : tuple of Fault
        O1 faults of the first domain.
    boundary : Boundary or None
        Where the second domain starts.
    second : str
        What the second domain is.
    defects : Defects
        Those of the first domain.
    """

    sites: Sites
    thickness_nm: np.ndarray
    outline: Outline
    foil: Foil
    kind: str
    name: str
    lattices: tuple[Lattice, ...] = ()
    layers: tuple[Layer, ...] = ()
    faults: tuple[Fault, ...] = ()
    boundary: Boundary | None = None
    second: SecondDomain = "none"
    defects: Defects = Defects()  # noqa: RUF009  # frozen


def draw_structure(config: SceneConfig, view: View, rng: np.random.Generator) -> Structure:
    """Random specimen of a scene."""
    weights = np.array([config.p_cathode, config.p_other, config.p_nothing])
    kind = ("cathode", "other", "nothing")[int(rng.choice(3, p=weights / weights.sum()))]
    if kind == "cathode":
        return _cathode(config, view, rng)
    if kind == "other":
        return _other(config, view, rng)
    foil = draw_foil(config.foil, view, rng)
    return Structure(empty_sites(), np.zeros(0), Outline(), foil, "nothing", "nothing")


def _cathode(config: SceneConfig, view: View, rng: np.random.Generator) -> Structure:
    second = _second_domain(config, rng)
    lattice = draw_lattice(config.lattice, view, rng, twin=second == "twin")
    outline = draw_outline(config.surface, view, lattice.rotation_deg - 90.0, rng)
    layers, patches = draw_layers(config.layer, outline, view, 2 * lattice.row_nm, rng)
    faults: tuple[Fault, ...] = ()
    if second != "twin":  # a fault's slip is tied to one stacking sense
        faults = draw_faults(config.faults, view, lattice.frame, outline, layers, rng=rng)
    defects = draw_defects(config.defects, view, rng, layered=True)
    lattice, defects = _overlapped(lattice, defects, outline)
    if second == "none" and happens(rng, config.defects.p_dislocations):
        step = lattice.sense * lattice.period_nm / 3.0
        found, bounded = layered_dislocations(
            config.defects, view, lattice.frame, step, config.faults.occupancy, rng=rng
        )
        faults = (*bounded, *clear_faults(faults, found, bounded, lattice.frame))
        defects = replace(defects, dislocations=found)
    change = Reconstruction(outline, layers, patches, faults, defects)
    sites = build_cathode(lattice, view, change, rng)
    boundary: Boundary | None = None
    lattices: tuple[Lattice, ...] = (lattice,)
    if second in ("variant", "grain"):
        boundary = _draw_boundary(view, rng)
        more, other = _neighbour(lattice, view, replace(change, faults=()), second, rng)
        lattices += more
        other = replace(other, domain=np.ones(len(other), np.int8))
        sites = join([_side(sites, boundary, -1.0), _side(other, boundary, 1.0)])
    sites = without_missing(_cut(sites, outline), defects, rng)
    foil = draw_foil(config.foil, view, rng)
    sites = settle_occupancy(sites, foil.at(sites.yx_nm, outline), lattice, defects, rng)
    return Structure(
        sites=_scatter(sites, foil, rng),
        thickness_nm=foil.at(sites.yx_nm, outline),
        outline=outline,
        foil=foil,
        kind="cathode",
        name="NMC811 [1 0 0]",
        lattices=lattices,
        layers=layers,
        faults=faults,
        boundary=boundary,
        second=second,
        defects=defects,
    )


def _overlapped(lattice: Lattice, defects: Defects, outline: Outline) -> tuple[Lattice, Defects]:
    """The bulk as it projects where rocksalt covers a part of the foil: that is its mean interlayer occupancy."""
    if defects.overlap <= 0.0:
        return lattice, defects
    over = defects.overlap
    if outline.faces:
        # Below a surface the front is where occupancy crosses one half, so the bulk has to stay below it.
        room = max(MOST_MIXED - lattice.antisite, 0.0) / (1.0 - min(lattice.antisite, MOST_MIXED))
        over = min(0.45 * over, room)
    return replace(lattice, antisite=over + (1.0 - over) * lattice.antisite), replace(defects, overlap=over)


def _other(config: SceneConfig, view: View, rng: np.random.Generator) -> Structure:
    planar = turned(draw_planar(config.other, config.lattice, rng), uniform(rng, config.lattice.rotation_deg))
    outline = draw_outline(config.surface, view, float(rng.uniform(0, 360)), rng)
    defects = draw_defects(config.defects, view, rng, layered=False)
    if happens(rng, config.defects.p_dislocations):
        found = lattice_dislocations(config.defects, view, planar.basis_yx_nm, rng)
        defects = replace(defects, dislocations=found)
    sites = build_planar(planar, view, defects, rng)
    sites = _strained(sites, config, view, rng)
    sites = without_missing(_cut(sites, outline), defects, rng)
    foil = draw_foil(config.foil, view, rng)
    thickness = foil.at(sites.yx_nm, outline)
    # One atom every 0.3 nm along the beam, as in most crystals down their low-index zones.
    sites = with_vacancies(sites, defects, np.maximum(np.round(thickness / 0.3), 1).astype(int), rng)
    return Structure(_scatter(sites, foil, rng), thickness, outline, foil, "other", planar.name, defects=defects)


def _strained(sites: Sites, config: SceneConfig, view: View, rng: np.random.Generator) -> Sites:
    """Columns moved by a smooth strain and by static displacements."""
    fields, rms_nm = draw_strain(config.lattice, view, rng)
    static = 1e-3 * uniform(rng, config.lattice.displacement_pm) * rng.standard_normal(sites.yx_nm.shape)
    y, x = sites.yx_nm[:, 0], sites.yx_nm[:, 1]
    smooth = np.stack([field(y, x) for field in fields], axis=1) * rms_nm
    return replace(sites, yx_nm=sites.yx_nm + smooth + static)


def _second_domain(config: SceneConfig, rng: np.random.Generator) -> SecondDomain:
    d = config.domains
    draw = rng.random()
    if draw < d.p_twin:
        return "twin"
    if draw < d.p_twin + d.p_variant:
        return "variant"
    return "grain" if draw < d.p_twin + d.p_variant + d.p_grain else "none"


def _draw_boundary(view: View, rng: np.random.Generator) -> Boundary:
    angle = rng.uniform(0, 2 * np.pi)
    return Boundary((float(np.sin(angle)), float(np.cos(angle))), float(rng.uniform(-0.3, 0.3)) * min(view.size_nm))


def _neighbour(
    lattice: Lattice, view: View, change: Reconstruction, second: SecondDomain, rng: np.random.Generator
) -> tuple[tuple[Lattice, ...], Sites]:
    """The second domain, over the whole view."""
    if second == "variant":
        turned = lattice.rotation_deg + VARIANT_DEG * float(rng.choice([-1.0, 1.0]))
        variant = replace(lattice, rotation_deg=turned, sense=int(rng.choice([-1, 1])), twin_row=None)
        return (variant,), build_cathode(variant, view, change, rng)
    return (), _lines(view, rng)


def _lines(view: View, rng: np.random.Generator) -> Sites:
    """A grain out of its zone: lattice planes seen edge-on as lines, made of points too dense to resolve."""
    angle = rng.uniform(0, 2 * np.pi)
    spacing, dense = rng.uniform(0.14, 0.48), 0.08
    n, m = int(view.radius_nm / spacing) + 1, int(view.radius_nm / dense) + 1
    i, j = np.meshgrid(np.arange(-n, n + 1) * spacing, np.arange(-m, m + 1) * dense, indexing="ij")
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    yx = np.stack([i.ravel(), j.ravel()], 1) @ turn
    yx = yx[view.inside(yx, 0.5)]
    # Points this dense add up to about twice one peak; planes seen edge-on are dimmer than columns.
    return plain_sites(yx, np.full(len(yx), float(rng.uniform(0.05, 0.35))), LINE)


def _side(sites: Sites, boundary: Boundary, sign: float) -> Sites:
    side = sign * boundary.side_nm(sites.yx_nm[:, 0], sites.yx_nm[:, 1])
    return sites.take(np.flatnonzero(side > BOUNDARY_NM))


def _cut(sites: Sites, outline: Outline) -> Sites:
    """Columns inside the faces."""
    if not outline.faces:
        return sites
    depth = outline.depths(sites.yx_nm[:, 0], sites.yx_nm[:, 1]).max(axis=0)
    return sites.take(np.flatnonzero(depth > 0))


def _scatter(sites: Sites, foil: Foil, rng: np.random.Generator) -> Sites:
    """Column signals with their random variation."""
    factor = np.maximum(1.0 + foil.variation * rng.standard_normal(len(sites)), 0.3)

    return sites.with_weight(sites.weight * factor)

"""What the specimen of a scene is drawn from.

Ranges are ``(low, high)``, drawn uniformly unless the docstring says log-uniform; a fixed value is a range of no width.
Where no source is named the range is typical, without a published distribution. Defaults are the ranges of the released
models; ``configs/simulate/training.yaml`` goes further (docs/design.md).
"""

from dataclasses import dataclass

from atomseg.errors import ConfigError
from atomseg.simulate.ranges import Range, check_ranges
from atomseg.types import StageConfig


@dataclass(frozen=True, kw_only=True)
class LatticeConfig(StageConfig):
    """The layered crystal (R-3m) seen along a close-packed row.

    Parameters
    ----------
    a_nm : tuple of float
        Hexagonal a, nm, of 0.281 (charged) to 0.290; the period along a row is a sqrt(3) / 2.
    c_nm : tuple of float
        Hexagonal c, nm, of 1.335 (H3) to 1.460 (10.1002/cssc.201900032); the collapsed end is rare and not in the
        default.
    rotation_deg : tuple of float
        Direction of the rows in the image, degrees from +x towards +y.
    senses : tuple of int
        Stacking senses to choose from: +1, -1 (the same crystal seen from behind).
    strain_rms : tuple of float
        Root-mean-square of the smooth random strain.
    displacement_pm : tuple of float
        Static displacement of a column from its lattice site, pm rms an axis.
    antisite : tuple of float
        Ni fraction of interlayer sites in the bulk.
    p_exchange : float
        Probability that interlayer Ni of the bulk changed places with lithium; otherwise it is excess Ni.
    exchange : tuple of float
        Fraction of that Ni that did: for a fraction x of interlayer sites, x I_Ni + (1 - x) I_Li over (1 - x) I_TM +
        x I_Li (typical range; no published distribution). Rocksalt has no lithium on its TM sites.
    exponent : tuple of float
        n of Z^n, 1.5 to 2 (Nanoscale Res. Lett. 6:194).
    mixing_exponent : tuple of float
        Signal of an interlayer column goes with occupancy to this power: 1 is linear, above 1 the Ni of mixed columns
        channels badly (multislice: 0.85 to 1.3 with usual source sizes).
    """

    a_nm: Range = (0.2815, 0.2900)
    c_nm: Range = (1.350, 1.460)
    rotation_deg: Range = (0.0, 360.0)
    senses: tuple[int, ...] = (1, -1)
    strain_rms: Range = (0.0, 0.006)
    displacement_pm: Range = (0.0, 6.0)
    antisite: Range = (0.0, 0.2)
    p_exchange: float = 0.0
    exchange: Range = (0.2, 1.0)
    exponent: Range = (1.5, 2.0)
    mixing_exponent: Range = (0.85, 1.3)

    def __post_init__(self) -> None:
        check_ranges(
            self,
            {
                "a_nm": (0.25, 0.32),
                "c_nm": (1.2, 1.6),
                "rotation_deg": (-360.0, 360.0),
                "strain_rms": (0.0, 0.05),
                "displacement_pm": (0.0, 30.0),
                "antisite": (0.0, 1.0),
                "p_exchange": (0.0, 1.0),
                "exchange": (0.0, 1.0),
                "exponent": (1.0, 2.5),
                "mixing_exponent": (0.5, 2.0),
            },
        )
        if not self.senses or set(self.senses) - {1, -1}:
            raise ConfigError(f"LatticeConfig.senses is {self.senses}; allowed: 1, -1 or both")


@dataclass(frozen=True, kw_only=True)
class SurfaceConfig(StageConfig):
    """Edges of the crystal in the image.

    Parameters
    ----------
    p_none, p_edge, p_crack : float
        Relative weights of: crystal everywhere, one surface, a crack with two faces.
    facet_deg : tuple of float
        Angle of the surface normal to the direction across the layers, degrees.
    offset : tuple of float
        Where the surface lies along its normal, as a fraction of half the image: 0 in the centre, -0.6 mostly crystal.
    crack_offset : tuple of float
        Where the middle of a crack lies, as `offset`.
    crack_width_nm : tuple of float
        Opening of a crack, nm, log-uniform.
    roughness_nm : tuple of float
        Root-mean-square height of a rough surface, nm.
    correlation_nm : tuple of float
        Length along the surface on which it is rough, nm, log-uniform.
    p_stepped : float
        Probability that a surface is stepped (terraces) instead of rough.
    step_nm : tuple of float
        Height of a step, nm.
    cover_nm : tuple of float
        Thickness of the amorphous cover, nm.
    p_cover : float
        Probability of a cover.
    cover_level : tuple of float
        Brightness of the cover in units of a TM column's peak, log-uniform: carbon to Pt.
    """

    p_none: float = 0.35
    p_edge: float = 0.5
    p_crack: float = 0.15
    facet_deg: Range = (0.0, 360.0)
    offset: Range = (-0.8, 0.5)
    crack_offset: Range = (-0.4, 0.4)
    crack_width_nm: Range = (0.6, 6.0)
    roughness_nm: Range = (0.0, 0.5)
    correlation_nm: Range = (0.8, 6.0)
    p_stepped: float = 0.35
    step_nm: Range = (0.2, 1.0)
    cover_nm: Range = (0.3, 10.0)
    p_cover: float = 0.6
    cover_level: Range = (0.03, 2.0)

    def __post_init__(self) -> None:
        check_ranges(
            self,
            {
                "p_none": (0.0, 1.0),
                "p_edge": (0.0, 1.0),
                "p_crack": (0.0, 1.0),
                "facet_deg": (-360.0, 360.0),
                "offset": (-1.5, 1.5),
                "crack_offset": (-1.5, 1.5),
                "crack_width_nm": (0.05, 100.0),
                "roughness_nm": (0.0, 5.0),
                "correlation_nm": (0.1, 100.0),
                "p_stepped": (0.0, 1.0),
                "step_nm": (0.0, 5.0),
                "cover_nm": (0.0, 50.0),
                "p_cover": (0.0, 1.0),
                "cover_level": (1e-4, 10.0),
            },
        )
        if self.p_none + self.p_edge + self.p_crack <= 0.0:
            raise ConfigError("SurfaceConfig: p_none, p_edge and p_crack are all 0; give at least one a weight")


@dataclass(frozen=True, kw_only=True)
class LayerConfig(StageConfig):
    """The reconstruction layer below a surface.

    Parameters
    ----------
    p_layer : float
        Probability that a surface has one.
    thickness_nm : tuple of float
        Mean depth of the layer, nm, log-uniform.
    second_face : tuple of float
        Mean depth below the second face of a crack relative to the first, log-uniform.
    occupancy : tuple of float
        Ni fraction of interlayer sites in the layer (1 is full rocksalt).
    front_width_nm : tuple of float
        Standard deviation of the error-function front, nm.
    roughness_nm : tuple of float
        Root-mean-square of the layer's depth along the surface, nm (at most a quarter of the thickness is used).
    correlation_nm : tuple of float
        Length along the surface on which the depth varies, nm.
    p_stepped : float
        Probability that the front runs in steps of one cation double row instead.
    p_patchy : float
        Probability that a layer is patchy: islands of layered crystal in it.
    patch_fraction : tuple of float
        Part of a patchy layer that stayed layered.
    patch_nm : tuple of float
        Size of the patches, nm.
    p_mixed : float
        Probability of a partly occupied zone below the layer.
    mixed_occupancy : tuple of float
        Extra occupancy just below the front.
    mixed_decay_nm : tuple of float
        Depth on which it decays, nm.
    p_rocksalt_lattice : float
        Probability that layers have the lattice of rocksalt across their front, coherent along it (10.1038/
        s41563-020-0767-8); otherwise they keep that of the layered crystal, 2 to 3 % smaller.
    rocksalt_a_nm : tuple of float
        Its cubic lattice constant, nm: 0.4177 for NiO, less with lithium in it.
    """

    p_layer: float = 0.85
    thickness_nm: Range = (0.4, 40.0)
    second_face: Range = (0.3, 3.0)
    occupancy: Range = (0.8, 1.0)
    front_width_nm: Range = (0.05, 1.0)
    roughness_nm: Range = (0.0, 1.5)
    correlation_nm: Range = (1.0, 10.0)
    p_stepped: float = 0.3
    p_patchy: float = 0.35
    patch_fraction: Range = (0.1, 0.5)
    patch_nm: Range = (1.0, 4.0)
    p_mixed: float = 0.4
    mixed_occupancy: Range = (0.05, 0.4)
    mixed_decay_nm: Range = (0.5, 5.0)
    p_rocksalt_lattice: float = 0.0
    rocksalt_a_nm: Range = (0.410, 0.420)

    def __post_init__(self) -> None:
        check_ranges(
            self,
            {
                "p_layer": (0.0, 1.0),
                "thickness_nm": (0.05, 200.0),
                "second_face": (0.01, 100.0),
                "occupancy": (0.0, 1.0),
                "front_width_nm": (0.0, 10.0),
                "roughness_nm": (0.0, 10.0),
                "correlation_nm": (0.1, 100.0),
                "p_stepped": (0.0, 1.0),
                "p_patchy": (0.0, 1.0),
                "patch_fraction": (0.0, 1.0),
                "patch_nm": (0.2, 20.0),
                "p_mixed": (0.0, 1.0),
                "mixed_occupancy": (0.0, 1.0),
                "mixed_decay_nm": (0.05, 50.0),
                "p_rocksalt_lattice": (0.0, 1.0),
                "rocksalt_a_nm": (0.38, 0.45),
            },
        )


@dataclass(frozen=True, kw_only=True)
class FaultConfig(StageConfig):
    """O1 stacking faults.

    Parameters
    ----------
    p_bulk : float
        Probability of faults anywhere in the crystal.
    p_layer : float
        Probability of faults inside the reconstruction layer, where there is one.
    density_per_nm : tuple of float
        Faults per nm across the layers.
    p_lamella : float
        Probability that a fault is a lamella of several successive O1 gaps.
    lamella_gaps : tuple of int
        Number of gaps of a lamella, both ends included.
    length_nm : tuple of float
        Length of a fault along the rows, nm, log-uniform.
    p_through : float
        Probability that a fault in the bulk runs through the whole image.
    occupancy : tuple of float
        Ni fraction of interlayer sites in an O1 gap.
    p_hybrid : float
        Probability of a band of H1-3 stacking through the image: every other gap is O1 (shifts 0, 1/3, 0, 1/3, ...; Van
        der Ven et al. 1998, 10.1103/PhysRevB.58.2975).
    hybrid_gaps : tuple of int
        Number of O1 gaps of the band.
    p_spacing : float
        Probability that the O1 gaps of a scene have a spacing of their own; otherwise they keep c/3 of the crystal.
    spacing_nm : tuple of float
        Distance of their TM rows, nm: 0.43 to 0.44 in delithiated NiO2, up to that of discharged crystals and beyond
        (typical range; no published distribution).
    """

    p_bulk: float = 0.3
    p_layer: float = 0.4
    density_per_nm: Range = (0.02, 0.3)
    p_lamella: float = 0.4
    lamella_gaps: tuple[int, int] = (2, 12)
    length_nm: Range = (1.5, 20.0)
    p_through: float = 0.4
    occupancy: Range = (0.0, 0.35)
    p_hybrid: float = 0.04
    hybrid_gaps: tuple[int, int] = (3, 10)
    p_spacing: float = 0.0
    spacing_nm: Range = (0.430, 0.485)

    def __post_init__(self) -> None:
        check_ranges(
            self,
            {
                "p_bulk": (0.0, 1.0),
                "p_layer": (0.0, 1.0),
                "density_per_nm": (0.0, 2.2),
                "p_lamella": (0.0, 1.0),
                "lamella_gaps": (1.0, 60.0),
                "length_nm": (0.5, 200.0),
                "p_through": (0.0, 1.0),
                "occupancy": (0.0, 1.0),
                "p_hybrid": (0.0, 1.0),
                "hybrid_gaps": (2.0, 60.0),
                "p_spacing": (0.0, 1.0),
                "spacing_nm": (0.38, 0.55),
            },
        )


@dataclass(frozen=True, kw_only=True)
class DomainConfig(StageConfig):
    """A second crystal domain in the same image.

    Parameters
    ----------
    p_twin : float
        Probability of a twin: the stacking sense reverses at one row.
    p_variant : float
        Probability of a second layered domain whose layers stand at 70.5 degrees to the first.
    p_grain : float
        Probability of a grain that is out of the zone (lines or no contrast).
    """

    p_twin: float = 0.05
    p_variant: float = 0.06
    p_grain: float = 0.05

    def __post_init__(self) -> None:
        check_ranges(self, {"p_twin": (0.0, 1.0), "p_variant": (0.0, 1.0), "p_grain": (0.0, 1.0)})


@dataclass(frozen=True, kw_only=True)
class FoilConfig(StageConfig):
    """Thickness of the specimen along the beam.

    Parameters
    ----------
    thickness_nm : tuple of float
        Thickness far from any edge, nm, log-uniform.
    wedge : tuple of float
        Relative change of thickness across the image, any direction.
    edge_thickness_nm : tuple of float
        Thickness at a surface, nm (never more than the full thickness).
    edge_length_nm : tuple of float
        Depth on which the foil thickens from a surface, nm.
    variation : tuple of float
        Root-mean-square relative variation of column signal (composition, surface steps, vacancies).
    """

    thickness_nm: Range = (3.0, 50.0)
    wedge: Range = (0.0, 0.6)
    edge_thickness_nm: Range = (1.5, 20.0)
    edge_length_nm: Range = (0.5, 15.0)
    variation: Range = (0.01, 0.06)

    def __post_init__(self) -> None:
        check_ranges(
            self,
            {
                "thickness_nm": (0.5, 200.0),
                "wedge": (0.0, 0.95),
                "edge_thickness_nm": (0.3, 200.0),
                "edge_length_nm": (0.05, 200.0),
                "variation": (0.0, 0.5),
            },
        )

"""What lattices that are not a layered oxide down a close-packed row are drawn from."""

from dataclasses import dataclass

from atomseg.crystal import list_crystals
from atomseg.errors import ConfigError
from atomseg.simulate.ranges import Range, check_ranges
from atomseg.types import StageConfig

Zone = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class OtherConfig(StageConfig):
    """Lattices that are not layered oxides down a close-packed row.

    Ranges are ``(low, high)``, drawn uniformly unless said otherwise.

    Parameters
    ----------
    p_layered : float
        Probability of the layered oxide down one of `layered_zones`; its phases can not be told there.
    layered_zones : tuple of tuple of int
        Zone axes of it: <112>-like rows, plan view, and one where every cation column is mixed.
    p_cif : float
        Probability of one of the structures of `cif`, if there are any.
    cif : tuple of str
        Structure files (CIF, or others that ASE reads), seen from the folder of the configuration file.
    cif_zones : tuple of tuple of int
        Zone axes of their cells to choose from; empty takes `zones`.
    p_named : float
        Probability of a named crystal along a low-index zone; otherwise a random two-dimensional lattice.
    crystals : tuple of str
        Named crystals to choose from, see `atomseg.crystal.list_crystals`.
    zones : tuple of tuple of int
        Zone axes to choose from.
    spacing_nm : tuple of float
        Lengths of the vectors of a random lattice, nm.
    angle_deg : tuple of float
        Angle between them, degrees.
    max_species : int
        Columns in the cell of a random lattice, at most.
    brightness : tuple of float
        Brightness of the dimmer columns relative to the brightest, log-uniform.
    min_distance_nm : float
        Closest columns of a random lattice, nm.
    p_dumbbell : float
        Probability that a random lattice is one of dumbbells.
    dumbbell_nm : tuple of float
        Distance of the two columns of a dumbbell, nm: Si and GaAs down [110] have 0.136 and 0.141.
    """

    p_layered: float = 0.2
    layered_zones: tuple[Zone, ...] = ((1, -1, 0), (0, 0, 1), (-4, -2, 1))
    p_cif: float = 0.5
    cif: tuple[str, ...] = ()
    cif_zones: tuple[Zone, ...] = ()
    p_named: float = 0.5
    crystals: tuple[str, ...] = (
        "SrTiO3", "BaTiO3", "PbTiO3", "LaAlO3", "KTaO3", "Si", "Ge", "GaP", "ZnS", "GaAs", "InP", "InAs", "CdTe",
        "Au", "Al", "Cu", "Pt", "Fe", "W", "Ti", "Mg", "GaN", "ZnO", "MgO", "NiO", "CeO2", "TiO2_rutile", "MoS2",
        "MoS2_layer", "WS2_layer", "WSe2_layer", "graphene", "LiNi2O4_spinel",
    )  # fmt: skip
    zones: tuple[Zone, ...] = ((0, 0, 1), (1, 1, 0), (1, 0, 0), (1, -1, 0), (1, 1, 1), (1, 1, 2))
    spacing_nm: Range = (0.18, 0.60)
    angle_deg: Range = (55.0, 125.0)
    max_species: int = 3
    brightness: Range = (0.05, 1.0)
    min_distance_nm: float = 0.12
    p_dumbbell: float = 0.35
    dumbbell_nm: Range = (0.12, 0.17)

    def __post_init__(self) -> None:
        check_ranges(
            self,
            {
                "p_layered": (0.0, 1.0),
                "p_cif": (0.0, 1.0),
                "p_named": (0.0, 1.0),
                "spacing_nm": (0.1, 2.0),
                "angle_deg": (30.0, 150.0),
                "max_species": (1, 6),
                "brightness": (0.001, 1.0),
                "min_distance_nm": (0.05, 0.5),
                "p_dumbbell": (0.0, 1.0),
                "dumbbell_nm": (0.05, 1.0),
            },
        )
        unknown = sorted(set(self.crystals) - set(list_crystals()))
        if unknown:
            raise ConfigError(f"OtherConfig.crystals has {', '.join(unknown)}; known: {', '.join(list_crystals())}")
        for name in ("layered_zones", "cif_zones", "zones"):
            if (0, 0, 0) in getattr(self, name):
                raise ConfigError(f"OtherConfig.{name} has [0 0 0], which is no direction; give at least one index")
        if not self.layered_zones or not self.zones:
            raise ConfigError("OtherConfig.layered_zones and zones need at least one zone axis each, e.g. [1, 1, 0]")

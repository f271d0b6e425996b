"""What the defects of a crystal are drawn from: vacancies, bending, dislocations, misplaced and overlapping cations.

Ranges are ``(low, high)``, drawn uniformly; a fixed value is a range of no width.
"""

from dataclasses import dataclass
from typing import Literal

from atomseg.errors import ConfigError
from atomseg.simulate.ranges import Range, check_ranges
from atomseg.types import StageConfig

DislocationKind = Literal["plane", "partial"]


@dataclass(frozen=True, kw_only=True)
class DefectConfig(StageConfig):
    """Defects beyond stacking faults; each kind is rare, so that most scenes stay plain.

    Parameters
    ----------
    p_vacancies : float
        Probability that metal columns have vacancies.
    vacancies : tuple of float
        Their fraction; every column draws its own number of atoms.
    p_missing : float
        Probability that whole columns are missing (nothing may be restored there).
    missing : tuple of float
        Fraction of missing columns.
    p_bending : float
        Probability of a bent lattice.
    bending_deg_per_10nm : tuple of float
        Curvature, degrees per 10 nm: 0 to 2 between cracks of cycled particles; no part is strained by more than 2 %.
    p_dislocations : float
        Probability of edge dislocations.
    dislocation_number : tuple of int
        How many in the image.
    dislocation_kinds : tuple of str
        Kinds in layered crystals: ``plane``, an extra (003) layer, c/3 = 0.473 nm across the layers (Yan et al. 2018,
        PMC6014973); ``partial``, a Shockley partial a/sqrt(3) = 0.166 nm in the layers with the O1 fault that it
        bounds. Other crystals have a lattice vector.
    poisson_ratio : tuple of float
        Of the isotropic medium, 0.25 to 0.33 for oxides and metals.
    core_radius_nm : float
        Columns closer to the core are not required, nm: elasticity says nothing there (Hirth and Lothe, chapter 3).
    p_tetrahedral : float
        Probability of tetrahedral metal in the interlayer of the transition zone below a surface.
    tetrahedral : tuple of float
        Fraction of the interlayer's metal that is there (10.1002/aenm.202001026).
    p_overlap : float
        Probability that rocksalt covers the layered crystal along the beam, over the whole image.
    overlap : tuple of float
        Fraction of the foil that is rocksalt.
    """

    p_vacancies: float = 0.08
    vacancies: Range = (0.0, 0.10)
    p_missing: float = 0.05
    missing: Range = (0.002, 0.04)
    p_bending: float = 0.08
    bending_deg_per_10nm: Range = (0.0, 2.0)
    p_dislocations: float = 0.06
    dislocation_number: tuple[int, int] = (1, 3)
    dislocation_kinds: tuple[DislocationKind, ...] = ("plane", "partial")
    poisson_ratio: Range = (0.25, 0.33)
    core_radius_nm: float = 0.3
    p_tetrahedral: float = 0.2
    tetrahedral: Range = (0.05, 0.30)
    p_overlap: float = 0.06
    overlap: Range = (0.05, 0.95)

    def __post_init__(self) -> None:
        check_ranges(
            self,
            {
                "p_vacancies": (0.0, 1.0),
                "vacancies": (0.0, 0.9),
                "p_missing": (0.0, 1.0),
                "missing": (0.0, 0.9),
                "p_bending": (0.0, 1.0),
                "bending_deg_per_10nm": (0.0, 20.0),
                "p_dislocations": (0.0, 1.0),
                "dislocation_number": (1.0, 20.0),
                "poisson_ratio": (0.0, 0.49),
                "core_radius_nm": (0.05, 2.0),
                "p_tetrahedral": (0.0, 1.0),
                "tetrahedral": (0.0, 1.0),
                "p_overlap": (0.0, 1.0),
                "overlap": (0.0, 1.0),
            },
        )
        if not self.dislocation_kinds:
            raise ConfigError("DefectConfig.dislocation_kinds is empty; give plane, partial or both")

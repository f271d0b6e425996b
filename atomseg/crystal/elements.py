"""Atomic numbers and the incoherent HAADF weight that follows from them."""

from collections.abc import Mapping
from types import MappingProxyType

from atomseg.errors import ConfigError

ATOMIC_NUMBERS: Mapping[str, int] = MappingProxyType(
    {
        "Li": 3, "C": 6, "N": 7, "O": 8, "Al": 13, "Si": 14, "S": 16, "Ti": 22, "Mn": 25, "Fe": 26, "Co": 27, "Ni": 28,
        "Ga": 31, "As": 33, "Sr": 38, "Mo": 42, "Cd": 48, "Te": 52, "Ba": 56, "Pt": 78, "Au": 79, "Pb": 82,
    }
)  # fmt: skip


def haadf_weight(occupants: Mapping[str, float], exponent: float) -> float:
    """Mean incoherent HAADF signal per atom of a site, relative to atomic number 1.

    Parameters
    ----------
    occupants : mapping of str to float
        Element symbol to site fraction; fractions may add up to less than one (vacancies).
    exponent : float
        n of Z^n; 1.6 to 2 for usual detectors (Nanoscale Res. Lett. 6:194 reports 1.7 to 2).

    Raises
    ------
    ConfigError
        If an element is not in `ATOMIC_NUMBERS`.
    """
    unknown = sorted(set(occupants) - set(ATOMIC_NUMBERS))
    if unknown:
        raise ConfigError(f"unknown element {', '.join(unknown)}; known: {', '.join(ATOMIC_NUMBERS)}")
    return float(sum(fraction * ATOMIC_NUMBERS[symbol] ** exponent for symbol, fraction in occupants.items()))

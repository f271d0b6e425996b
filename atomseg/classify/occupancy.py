"""From the ratio of an interlayer column to its TM columns to a Ni fraction: two models, that it can not tell apart."""

import numpy as np

# Ni over mean NMC-811 column and Li over it, Z^1.7 (10.1186/1556-276X-6-194 for the exponent).
NI_PER_TM = 1.024
LI_PER_TM = 0.023


def excess_fraction(ratio: np.ndarray, floor: float = LI_PER_TM) -> np.ndarray:
    """Ni fraction x of interlayer sites when extra Ni sits there and TM columns are whole: R = floor + (Ni - floor) x.

    Parameters
    ----------
    ratio : numpy.ndarray
        Interlayer over TM amplitude.
    floor : float
        Ratio of an ordered crystal of the same thickness, best that of the image's own bulk: 0.02 in thin foils, up to
        0.14 of the raw peak at 24 nm.

    Raises
    ------
    ValueError
        If the floor is not between 0 and 0.9.
    """
    _check(floor)
    return (np.asarray(ratio, dtype=float) - floor) / (NI_PER_TM - floor)


def exchange_fraction(ratio: np.ndarray, floor: float = LI_PER_TM) -> np.ndarray:
    """Fraction x of Ni and Li that changed places: R = (x Ni + (1 - x) floor) / ((1 - x) + x floor); see above."""
    _check(floor)
    r = np.asarray(ratio, dtype=float)
    return (r - floor) / (NI_PER_TM - floor + r * (1.0 - floor))


def _check(floor: float) -> None:
    if not 0.0 <= floor <= 0.9:
        raise ValueError(f"floor is {floor:g}; allowed: 0 to 0.9 of a TM column, e.g. the median ratio of the bulk")

"""Conversion of the length units that microscope files use; everything inside atomseg is in nanometres."""

from atomseg.errors import CalibrationError

PM_PER_NM = 1e3

_NM_PER_UNIT = {
    "m": 1e9,
    "cm": 1e7,
    "mm": 1e6,
    "um": 1e3,
    "µm": 1e3,  # micro sign, U+00B5
    "μm": 1e3,  # Greek mu, U+03BC
    "micron": 1e3,
    "microns": 1e3,
    "micrometer": 1e3,
    "micrometre": 1e3,
    "nm": 1.0,
    "nanometer": 1.0,
    "nanometre": 1.0,
    "å": 0.1,  # the letter; the Angstrom sign, U+212B, folds to it
    "a": 0.1,
    "ang": 0.1,
    "angstrom": 0.1,
    "angstroms": 0.1,
    "pm": 1e-3,
    "picometer": 1e-3,
    "picometre": 1e-3,
    "in": 2.54e7,
    "inch": 2.54e7,
}


def length_to_nm(value: float, unit: str) -> float:
    """Convert a length to nanometres.

    Parameters
    ----------
    value : float
        Length in `unit`.
    unit : str
        Name or symbol, any case: m, cm, mm, µm, nm, Å, pm, inch and their spellings.

    Raises
    ------
    CalibrationError
        If `unit` is not a known length.
    """
    key = unit.strip().casefold()
    if key not in _NM_PER_UNIT:
        raise CalibrationError(f"unit {unit!r} is not a length that atomseg knows (m, cm, mm, µm, nm, Å, pm, inch)")
    return value * _NM_PER_UNIT[key]

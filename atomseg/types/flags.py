"""Why a column is less than perfect: one registry, so that no failure is silent."""

from enum import IntFlag


class ColumnFlag(IntFlag):
    """Bit flags of a column; several can be set."""

    NONE = 0
    BORDER = 1  # the fit window leaves the image
    FIT_FAILED = 2  # the fit was drawn away, found no rest or had too few pixels: the error is the network's
    WIDTH_BOUND = 4  # the width ran into its bound
    OVERLAP = 8  # another column lies within 1.5 FWHM: errors include the correlation
    LOW_SNR = 16  # amplitude less than 3 of its errors
    SATURATED = 32  # pixels of the window are clipped or invalid


def decode_flags(value: int) -> str:
    """Words for a flag value, joined by ``|``; an empty string when nothing is set."""
    return "|".join(flag.name.lower() for flag in ColumnFlag if flag.value and value & flag.value and flag.name)

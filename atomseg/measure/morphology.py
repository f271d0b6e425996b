"""Opening and closing with disks of a length in nm."""

import numpy as np
from scipy.ndimage import distance_transform_edt


def opened(
    mask: np.ndarray, radius_nm: float, step_nm: tuple[float, float], ends: np.ndarray | None = None
) -> np.ndarray:
    """Morphological opening with a disk; what of the mask `ends` (bool) does not go on beyond the image."""
    return ~closed(~mask, radius_nm, step_nm, begins=ends)


def closed(
    mask: np.ndarray, radius_nm: float, step_nm: tuple[float, float], begins: np.ndarray | None = None
) -> np.ndarray:
    """Morphological closing with a disk.

    Beyond the image the mask is taken to go on as it ends there, and to begin beyond pixels that `begins` (bool).
    """
    if radius_nm <= 0:
        return mask
    n = int(np.ceil(radius_nm / min(step_nm))) + 1
    padded = np.pad(mask, n, mode="edge")
    if begins is not None:
        outside = np.pad(np.zeros_like(mask), n, constant_values=True)
        padded |= outside & np.pad(begins, n, mode="edge")
    dilated = distance_transform_edt(~padded, sampling=step_nm) <= radius_nm
    if dilated.all():
        return np.ones_like(mask)
    whole = distance_transform_edt(dilated, sampling=step_nm) > radius_nm
    return (whole | padded)[n:-n, n:-n]

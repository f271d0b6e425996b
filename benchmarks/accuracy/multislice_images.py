"""Multislice images of periodic cells, evaluated anywhere: blurred, at any point, from their Fourier series."""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from multislice_cells import CASES, STORE, Case


@dataclass(frozen=True)
class CellImage:
    """Image of one crystal at every thickness.

    Parameters
    ----------
    case : Case
        The crystal.
    image : numpy.ndarray
        (T, nv, nu) fraction of the beam on a grid of lattice coordinates; the metal column is at the origin.
    thickness_nm : numpy.ndarray
        (T,) nm.
    """

    case: Case
    image: np.ndarray
    thickness_nm: np.ndarray

    @property
    def series(self) -> np.ndarray:
        """(T, nv, nu) complex Fourier coefficients."""
        return np.asarray(np.fft.fft2(self.image.astype(float)) / self.image[0].size)

    @property
    def reciprocal(self) -> tuple[np.ndarray, np.ndarray]:
        """(nv, nu) reciprocal vectors of the coefficients (along, across), radians per nm."""
        nv, nu = self.image.shape[1:]
        h, k = np.meshgrid(np.fft.fftfreq(nu, 1.0 / nu), np.fft.fftfreq(nv, 1.0 / nv))
        case = self.case
        return 2 * np.pi * h / case.column_nm, 2 * np.pi * (k - h * case.shift) / case.layer_nm

    def at(self, along_nm: np.ndarray, across_nm: np.ndarray, blur_nm: float) -> np.ndarray:
        """(T, ...) image at points, after a Gaussian source blur of this standard deviation."""
        ga, gc = self.reciprocal
        damped = self.series * np.exp(-0.5 * blur_nm**2 * (ga**2 + gc**2))
        flat = damped.reshape(len(damped), -1)
        phase = np.multiply.outer(ga.ravel(), along_nm) + np.multiply.outer(gc.ravel(), across_nm)
        return np.asarray(np.tensordot(flat, np.exp(1j * phase), axes=1).real)

    def site(self, index: int, blur_nm: float) -> np.ndarray:
        """(T,) image on a site of `Case.sites`: 0 metal, 1 interlayer, 2 oxygen."""
        _, along, across = self.case.sites()[index]
        return self.at(np.array(along * self.case.column_nm), np.array(across * self.case.layer_nm), blur_nm)

    def minimum(self, blur_nm: float) -> np.ndarray:
        """(T,) least value of the image."""
        v, u = np.meshgrid(np.arange(48) / 48, np.arange(24) / 24, indexing="ij")
        along, across = (u + self.case.shift * v) * self.case.column_nm, v * self.case.layer_nm
        return np.asarray(self.at(along, across, blur_nm).min(axis=(1, 2)))


def load(path: Path = STORE) -> dict[str, CellImage]:
    """All calculated images by the name of their case."""
    with np.load(path) as stored:
        return {
            case.name: CellImage(
                case, _symmetric(case, stored[f"{case.name}/image"]), stored[f"{case.name}/thickness_nm"]
            )
            for case in CASES
            if f"{case.name}/image" in stored
        }


def _symmetric(case: Case, image: np.ndarray) -> np.ndarray:
    """In full rocksalt the interlayer site is a metal site: both half-cells are averaged, which halves the noise."""
    if case.x < 1.0:
        return image
    half = (image.shape[1] // 2, image.shape[2] // 2)
    return np.asarray(0.5 * (image + np.roll(image, half, axis=(1, 2))))

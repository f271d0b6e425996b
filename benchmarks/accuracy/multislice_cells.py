"""Frozen-phonon multislice of periodic layered-oxide cells with abTEM; images are stored by lattice coordinates.

    python benchmarks/accuracy/multislice_cells.py [--only NAME ...] [--phonons 2]

Needs the `multislice` extra (abTEM is a calculation tool here, never imported by the package). One run gives all
thicknesses up to 24 nm, by exit planes. A position is calculated in a unit cell drawn at random, so that each sees
thermal displacements (and Ni/Li occupancies) of its own, and the two-fold axis down [100] halves their number. Writes
benchmarks/results/multislice_cells.npz; to a case that is there already, --only adds phonon configurations.
"""

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from record import RESULTS

STORE = RESULTS / "multislice_cells.npz"
# Rms thermal displacement along one axis, nm: B = 0.4, 1.2 and 0.8 Å^2 (usual refinements of LiNiO2), u^2 = B / 8 pi^2.
THERMAL_NM = {"Ni": 0.0071, "Li": 0.0123, "O": 0.0101}
SEMIANGLE_MRAD, DETECTOR_MRAD = 25.0, (60.0, 140.0)
SLICES_PER_PLANE, PLANES = 14, 12  # half a period along the beam is one slice, so 14 are 2.0 nm and 12 planes 24 nm


@dataclass(frozen=True)
class Case:
    """A periodic crystal seen down [100] of the hexagonal cell.

    Parameters
    ----------
    name : str
        Name.
    energy_kv : float
        Accelerating voltage, kV.
    a_nm, layer_nm : float
        Hexagonal a and the distance of two layers of one kind, nm.
    shift : float
        Step of the next layer along the row, in columns: 1/3 for O3 and rocksalt, 0 for O1.
    oxygen : float
        Distance of the oxygen planes from the metal plane, as a fraction of the layer distance.
    x : float
        Ni fraction of the interlayer sites.
    layers : int
        Layers across the supercell.
    scan : tuple of int
        Positions along the row and across the layers: at the Nyquist limit of the probe's intensity.
    """

    name: str
    energy_kv: float
    a_nm: float
    layer_nm: float
    shift: float
    oxygen: float
    x: float
    layers: int
    scan: tuple[int, int]

    @property
    def column_nm(self) -> float:
        """Distance of columns along the row, nm."""
        return self.a_nm * 3**0.5 / 2

    def sites(self) -> list[tuple[str, float, float]]:
        """(species, along the row in columns, across in layers) of one layer; the metal is at the origin.

        All stand at thirds of a column: close-packed positions A, B, C. R-3m: metal 3a (0, 0, 0), interlayer 3b
        (0, 0, 1/2), oxygen 6c (0, 0, z), with the translation (2/3, 1/3, 1/3); the coordinate along the row is the
        second one. O1 is P-3m1: metal and interlayer on the axis, oxygen at (1/3, 2/3, z).
        """
        upper, lower = 1 / 3, -1 / 3
        interlayer = 2 / 3 if self.shift else 0.0
        return [
            ("Ni", 0.0, 0.0),
            ("gap", interlayer, 0.5),
            ("O", upper, self.oxygen),
            ("O", lower + self.shift, 1.0 - self.oxygen),
        ]


O3 = {"a_nm": 0.2876, "layer_nm": 1.4190 / 3, "shift": 1 / 3, "oxygen": 0.0748 * 3}
CASES = (
    Case("O3_x0_200kV", 200.0, **O3, x=0.0, layers=6, scan=(10, 20)),
    Case("O3_x25_200kV", 200.0, **O3, x=0.25, layers=3, scan=(10, 20)),
    Case(
        "rocksalt_200kV",
        200.0,
        a_nm=0.2955,
        layer_nm=1.4476 / 3,
        shift=1 / 3,
        oxygen=0.25,
        x=1.0,
        layers=3,
        scan=(10, 20),
    ),
    Case("O1_x0_200kV", 200.0, a_nm=0.2830, layer_nm=0.4733, shift=0.0, oxygen=0.2246, x=0.0, layers=3, scan=(10, 20)),
    Case("O3_x0_300kV", 300.0, **O3, x=0.0, layers=3, scan=(12, 22)),
)


def supercell(case: Case, rng: np.random.Generator):
    """ASE atoms, beam along z, rows along x; interlayer species drawn at random."""
    from ase import Atoms

    rows, depth = 8, SLICES_PER_PLANE * PLANES // 2
    period = case.a_nm
    symbols, positions = [], []
    for layer in range(case.layers):
        for species, along, across in case.sites():
            for column in range(rows):
                u = along + case.shift * layer + column
                # A, B, C at (0, 0), (2/3, 1/3), (1/3, 2/3) are 0, 1/2, 0 periods high down [100]: every other third.
                height = 0.5 * (round(3 * u) % 2) + 0.25  # the middle of a slice
                for step in range(depth):
                    symbol = species
                    if species == "gap":
                        symbol = "Ni" if rng.random() < case.x else "Li"
                    symbols.append(symbol)
                    positions.append(
                        (
                            u % rows * case.column_nm,
                            (layer + across) % case.layers * case.layer_nm,
                            (step + height) * period,
                        )
                    )
    cell = np.array([rows * case.column_nm, case.layers * case.layer_nm, depth * period])
    return Atoms(symbols, np.array(positions) * 10.0, cell=cell * 10.0, pbc=True)


def positions(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """(N, 2) lattice coordinates of the positions to calculate, and (nv, nu) index of the one that stands for each."""
    nu, nv = case.scan
    j, i = np.mgrid[:nv, :nu]
    own = j * nu + i
    first = np.minimum(own, (-j % nv) * nu + (-i % nu))  # two-fold axis through the metal column
    kept, index = np.unique(first, return_inverse=True)
    return np.stack([kept % nu / nu, kept // nu / nv], axis=-1), index.reshape(nv, nu)


def calculate(case: Case, phonons: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(planes, nv, nu) float32 image, fraction of the beam, on the lattice grid; and (planes,) thickness, nm."""
    import abtem

    abtem.config.set({"precision": "float32", "diagnostics.progress_bar": False, "fftw.threads": 1})
    rng = np.random.default_rng(seed)
    lattice, index = positions(case)
    total = np.zeros((PLANES, len(lattice)))
    for _ in range(phonons):
        atoms = supercell(case, rng)
        sigma = np.array([THERMAL_NM[s] * 10.0 for s in atoms.get_chemical_symbols()])
        atoms.positions += rng.normal(0.0, 1.0, atoms.positions.shape) * sigma[:, None]
        atoms.wrap()
        probe = abtem.Probe(energy=case.energy_kv * 1e3, semiangle_cutoff=SEMIANGLE_MRAD)
        # The antialiasing filter keeps 2/3 of the half-width in reciprocal space: 1.02 x the outer angle fits in it.
        highest = 1.02e-3 * DETECTOR_MRAD[1] / probe.wavelength * 1.5
        potential = abtem.Potential(
            atoms,
            sampling=0.5 / highest,
            slice_thickness=case.a_nm * 5.0,
            projection="infinite",
            exit_planes=SLICES_PER_PLANE,
        ).build(lazy=False)
        # Each position in a cell of its own: a random lattice vector is added.
        cell = lattice + np.stack([rng.integers(0, 8, len(lattice)), rng.integers(0, case.layers, len(lattice))], -1)
        across = cell[:, 1] * case.layer_nm
        along = (cell[:, 0] + case.shift * cell[:, 1]) % 8 * case.column_nm
        scan = abtem.CustomScan(np.stack([along, across], -1) * 10.0)
        detector = abtem.AnnularDetector(*DETECTOR_MRAD)
        measured = probe.scan(potential, scan=scan, detectors=detector, max_batch=8, lazy=False)
        total += np.asarray(measured.array).reshape(-1, len(lattice))[-PLANES:]
    thickness = np.arange(1, PLANES + 1) * SLICES_PER_PLANE * case.a_nm / 2
    return (total / phonons)[:, index].astype(np.float32), thickness


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--phonons", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    stored = dict(np.load(STORE)) if STORE.exists() else {}
    for case in CASES:
        done = int(stored.get(f"{case.name}/phonons", 0))
        if case.name not in arguments.only if arguments.only else done:
            continue
        started = time.perf_counter()
        image, thickness = calculate(case, arguments.phonons, arguments.seed + done)
        total = done * stored.get(f"{case.name}/image", np.zeros_like(image)) + arguments.phonons * image
        stored[f"{case.name}/image"] = (total / (done + arguments.phonons)).astype(np.float32)
        stored[f"{case.name}/thickness_nm"] = thickness
        stored[f"{case.name}/phonons"] = np.array(done + arguments.phonons)
        np.savez_compressed(STORE, **stored)
        image = stored[f"{case.name}/image"]
        print(f"{case.name}: {time.perf_counter() - started:.0f} s, metal", image[:, 0, 0], flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The result of mapping one micrograph, as a person uses it: tables, figure, folder, HyperSpy signals."""

import importlib.metadata
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from atomseg._version import __version__
from atomseg.errors import OutputError
from atomseg.types import AnalysisRecord, Phase, Provenance

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from atomseg.imaging import OutputImage
    from atomseg.networks import Model

# Packages whose version can change a number in the result.
TRACED_PACKAGES = ("torch", "numpy", "scipy", "pandas", "scikit-image", "hyperspy", "rosettasciio", "tifffile")


@dataclass(frozen=True, eq=False, repr=False)
class Analysis(AnalysisRecord):
    """Everything known about one micrograph; see `AnalysisRecord` for the parts it is made of."""

    @property
    def columns(self) -> "pd.DataFrame":
        """One row a column: position, errors, shape, phase, stacking, occupancy, depth; as in ``columns.csv``."""
        from atomseg.io import columns_table

        return columns_table(self)

    @property
    def summary(self) -> dict[str, Any]:
        """The numbers of ``summary.json``."""
        from atomseg.io import summarize

        return summarize(self)

    def plot(self) -> "Figure":
        """The overview figure; ``analysis.plot().savefig("overview.pdf")`` keeps it, a notebook shows it."""
        from atomseg.report import overview_figure

        return overview_figure(self)

    def output(self, name: str) -> np.ndarray:
        """One of the network's pictures of the micrograph, (H, W) float32.

        Parameters
        ----------
        name : str
            ``circular_mask`` (1 within 50 pm of a found column), ``gaussian_mask`` (the heat map, 0 to 1), ``denoised``
            (the micrograph without noise), ``denoised_without_background`` (its columns alone) or ``super_resolved``
            (its columns at 35 pm width, on pixels of at most 25 pm).

        Raises
        ------
        ConfigError
            If there is no output of that name.
        ModelError
            If the model has no head for it.
        OutputError
            If this analysis was read from a folder, where the network's answers are not kept.
        """
        return self._output(name).image

    def _output(self, name: str) -> "OutputImage":
        from atomseg.imaging import OUTPUTS, output_image

        if self.prediction is None and name in OUTPUTS:
            raise OutputError(
                f"{name!r} is not kept with a result that was read back; map the image again, "
                f"or write it then with --save {name}"
            )
        size = self.micrograph.calibration.pixel_size_nm
        # Without a prediction only the name is left to complain about.
        return output_image(name, self.prediction, self.micrograph.image, self.localized.yx_px, size)  # type: ignore[arg-type]

    def save(
        self,
        folder: str | Path,
        *,
        overwrite: bool = False,
        outputs: Sequence[str] = (),
        part_of: str | Path | None = None,
    ) -> Path:
        """Write all tables, maps and figures into a new folder, whole or not at all.

        Parameters
        ----------
        folder : str or pathlib.Path
            Result folder to make.
        overwrite : bool
            Replace an earlier result.
        outputs : sequence of str
            Names for `output`; each becomes a calibrated 32-bit float ``NAME.tif``.
        part_of : str or pathlib.Path, optional
            Output folder of a batch: ``page.html`` then links to its ``report.html`` and shares one copy of the plot
            library there. None makes a page that needs no other file.

        Raises
        ------
        OutputError
            If the folder exists and `overwrite` is False, or it can not be written.
        """
        from atomseg.io import write_analysis
        from atomseg.report import figure_files, page_files, share_library

        images = {name: self._output(name) for name in outputs}
        root = None
        if part_of is not None:
            share_library(Path(part_of))
            root = Path(os.path.relpath(part_of, folder)).as_posix()
        figures = {**figure_files(self), **page_files(self, root=root)}
        write_analysis(self, Path(folder), figures=figures, outputs=images, overwrite=overwrite)
        return Path(folder)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """The analysis that `save` or ``atomseg map`` wrote.

        Raises
        ------
        OutputError
            If the folder does not hold a complete result.
        """
        from atomseg.io import read_analysis

        return cls.of(read_analysis(Path(folder)))

    @classmethod
    def of(cls, record: AnalysisRecord) -> Self:
        """The same record with saving, loading and plotting."""
        return cls(**{f.name: getattr(record, f.name) for f in fields(AnalysisRecord)})

    def to_hyperspy(self) -> dict[str, Any]:
        """HyperSpy signals by name, with calibrated axes in nm.

        ``image`` (columns as markers, one colour a phase), ``restored``, ``phases``, ``confidence``, ``occupancy`` and
        ``depth``; where the lattice was measured also ``spacing``, ``strain_cc``, ``strain_ip``, ``shear``,
        ``rotation`` and ``occupancy_err``.
        """
        arrays = {
            "image": self.micrograph.image,
            "restored": self.restored,
            "phases": self.phases.labels,
            "confidence": self.phases.confidence,
            "occupancy": self.phases.occupancy,
            "depth": self.thickness.depth_nm,
            **({} if self.lattice is None else self.lattice.planes()),
        }
        signals = {name: self._signal(array, name) for name, array in arrays.items()}
        self._mark_columns(signals["image"])
        return signals

    def _signal(self, array: np.ndarray, title: str) -> Any:
        from hyperspy.signals import Signal2D

        axes = [
            {"name": name, "size": size, "scale": pixel, "offset": 0.0, "units": "nm"}
            for name, size, pixel in zip("yx", array.shape, self.micrograph.calibration.pixel_size_nm, strict=True)
        ]
        title = self.micrograph.name if title == "image" else f"{self.micrograph.name}: {title}"
        return Signal2D(array.copy(), axes=axes, metadata={"General": {"title": title}})

    def _mark_columns(self, signal: Any) -> None:
        from hyperspy.utils.markers import Points

        from atomseg.report import PHASE_COLORS

        codes = self.phases.columns["phase"].to_numpy()
        xy_nm = self.localized.yx_nm[:, ::-1]
        for phase in Phase:
            if np.any(codes == phase):
                points = Points(offsets=xy_nm[codes == phase], sizes=4, color=PHASE_COLORS[phase])
                signal.add_marker(points, permanent=True, plot_marker=False)

    def __repr__(self) -> str:
        return _as_text(self)


def trace_provenance(model: "Model", config: Mapping[str, object], *, seconds: float) -> Provenance:
    """What it takes to make a result again: versions, commit of a checkout, model, settings, device."""
    return Provenance(
        version=__version__,
        commit=checkout_commit(),
        model_id=model.card.id,
        model_sha256=model.sha256,
        config=dict(config),
        packages=dict(_installed()),
        device=str(model.device),
        seconds=round(seconds, 2),
    )


@cache
def _installed() -> tuple[tuple[str, str], ...]:
    """Names and versions of the traced packages, which stay as they are while a process runs."""
    return tuple((name, importlib.metadata.version(name)) for name in TRACED_PACKAGES)


def checkout_commit() -> str | None:
    """Commit of the checkout that this package runs from (``-dirty`` with changed files); None when installed."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None  # no git on this machine: the version still identifies a release
    return done.stdout.strip() or None


def _as_text(analysis: Analysis) -> str:
    from atomseg.report.text import result_rows, warning_lines

    rows = result_rows(analysis) + [("Warning", text) for text in warning_lines(analysis)]
    head = f"Analysis of {analysis.micrograph.name}"
    return "\n".join([head, *[f"  {name:<13}{text}" for name, text in rows]])

"""A methods paragraph with its references, as it can go into a paper; every number comes from the result itself."""

from collections.abc import Mapping
from typing import Any

from atomseg.report.text import phases_text, surfaces_line
from atomseg.types import AnalysisRecord
from atomseg.types.reconstruction import surfaces_differ

ATOMSEG = "atomseg"
# Key, what it is cited for, reference, DOI.
_REFERENCES: Mapping[str, tuple[str, str]] = {
    "atomsegnet": (
        "R. Lin, R. Zhang, C. Wang, X.-Q. Yang and H. L. Xin, TEMImageNet training library and AtomSegNet "
        "deep-learning models, Scientific Reports 11, 5386 (2021)",
        "10.1038/s41598-021-84499-w",
    ),
    "unet": (
        "O. Ronneberger, P. Fischer and T. Brox, U-Net: convolutional networks for biomedical image segmentation, "
        "MICCAI (2015)",
        "10.1007/978-3-319-24574-4_28",
    ),
    "kaplan": (
        "E. L. Kaplan and P. Meier, Nonparametric estimation from incomplete observations, "
        "J. Am. Stat. Assoc. 53, 457 (1958)",
        "10.1080/01621459.1958.10501452",
    ),
    "skimage": (
        "S. van der Walt et al., scikit-image: image processing in Python, PeerJ 2, e453 (2014)",
        "10.7717/peerj.453",
    ),
    "scipy": (
        "P. Virtanen et al., SciPy 1.0: fundamental algorithms for scientific computing in Python, "
        "Nature Methods 17, 261 (2020)",
        "10.1038/s41592-019-0686-2",
    ),
    "numpy": ("C. R. Harris et al., Array programming with NumPy, Nature 585, 357 (2020)", "10.1038/s41586-020-2649-2"),
}  # fmt: skip


def methods_paragraph(record: AnalysisRecord) -> str:
    """What was done to this micrograph and with what, in sentences; numbers in brackets are those of `references`."""
    sentences = [_input(record), _program(record), _columns(record), _phases(record)]
    if record.thickness.summary is not None:
        sentences.append(_thickness(record))
    sentences.append(_settings(record))
    return " ".join(sentence for sentence in sentences if sentence)


def references(record: AnalysisRecord) -> list[tuple[str, str]]:
    """(reference, DOI) of everything that `methods_paragraph` numbers, in that order."""
    return [_REFERENCES[key] for key in _cited(record)]


def _cited(record: AnalysisRecord) -> list[str]:
    keys = ["atomsegnet", "unet", "numpy", "scipy", "skimage"]
    return [*keys, "kaplan"] if record.thickness.summary is not None else keys


def _cite(record: AnalysisRecord, *keys: str) -> str:
    cited = _cited(record)
    return "[" + ", ".join(str(cited.index(key) + 1) for key in keys) + "]"


def _input(record: AnalysisRecord) -> str:
    (height, width), scale = record.micrograph.shape, record.micrograph.calibration
    size_y, size_x = (1e3 * size for size in scale.pixel_size_nm)
    size = f"{size_x:.2f} pm" if abs(size_x - size_y) < 1e-4 * size_x else f"{size_y:.2f} pm (y) by {size_x:.2f} pm (x)"
    origin = {
        "metadata": "as stated by the file",
        "user": "as given by the operator",
        "lattice": "from the lattice",
        "assumed": "assumed",
    }[str(scale.origin)]
    frames = f", the mean of {record.micrograph.n_frames} frames" if record.micrograph.frame == "mean" else ""
    return f"The HAADF-STEM micrograph ({width} × {height} pixels of {size}, {origin}{frames}) was analysed with"


def _program(record: AnalysisRecord) -> str:
    told = record.provenance
    commit = f", commit {told.commit[:12]}" if told.commit else ""
    return (
        f"{ATOMSEG} {told.version}{commit} and its network {told.model_id} (SHA-256 {told.model_sha256[:16]}…), a "
        f"U-Net trained on simulated micrographs in the manner of AtomSegNet {_cite(record, 'atomsegnet', 'unet')}, "
        f"with PyTorch {told.packages.get('torch', '(version unknown)')}, NumPy, SciPy and scikit-image "
        f"{_cite(record, 'numpy', 'scipy', 'skimage')}."
    )


def _columns(record: AnalysisRecord) -> str:
    n = len(record.localized)
    if n == 0:
        return "No atomic column was found."
    import numpy as np

    sigma = record.localized.sigma_nm
    known = sigma[np.isfinite(sigma)]
    error = f" (median standard error {1e3 * float(np.median(known)):.1f} pm along each axis)" if known.size else ""
    return (
        f"Seeded by the network's heat map, {n} atomic columns were fitted together on the measured pixels, each an "
        f"elliptical Gaussian on a local background{error}."
    )


def _phases(record: AnalysisRecord) -> str:
    if not record.phases.frames:
        return "The columns are not those of a layered oxide down its close-packed zone axis; no phase was judged."
    found = f" By area the crystal is {phases_text(record)}." if record.phases.fractions() else ""
    return (
        "Each gap between neighbouring metal rows was assigned to layered R-3m, O1 or rocksalt from its stacking shift "
        "and from the brightness of its interlayer sites relative to the metal rows; rocksalt here means all cation "
        f"rows equally bright in projection.{found}"
    )


def _thickness(record: AnalysisRecord) -> str:
    summary = record.thickness.summary
    if summary is None:
        return ""
    spacing = _value(record, "measure", "point_spacing_nm")
    every = f" every {spacing:g} nm" if isinstance(spacing, int | float) else ""
    told = (
        f"Along the crystal edge{every} the thickness of the reconstruction layer was taken as the depth, along the "
        "inward normal, of the deepest point of the reconstructed zone attached to the surface; where something else "
        "(the border of the view, another surface, unresolved crystal) was met first it is a lower bound "
        f"({100 * summary.censored_fraction:.0f} % of {summary.n_points} points), "
        f"and means and quantiles are Kaplan–Meier estimates {_cite(record, 'kaplan')}."
    )
    if surfaces_differ(record.thickness.surfaces):
        return f"{told} The surfaces differ: {surfaces_line(record.thickness.surfaces)}."
    if summary.mean_nm is not None:
        interval = (
            f" (90 % interval {summary.lower_nm:.1f} to {summary.upper_nm:.1f} nm)"
            if summary.lower_nm is not None and summary.upper_nm is not None
            else ""
        )
        return f"{told} The mean thickness is {summary.mean_nm:.1f} nm{interval}."
    if summary.lower_bound_nm is not None:
        return f"{told} The layer is at least {summary.lower_bound_nm:.1f} nm thick."
    return told


def _settings(record: AnalysisRecord) -> str:
    changed = changed_settings(record.provenance.config)
    if changed is None:
        return ""
    if not changed:
        return "All settings are the defaults of this version."
    return f"Settings other than the defaults of this version: {', '.join(changed)}."


def changed_settings(config: Mapping[str, Any]) -> list[str] | None:
    """``section.key = value`` of every setting that is not the default; None when no settings were kept."""
    from dataclasses import fields

    from atomseg.classify.config import ClassifyConfig
    from atomseg.infer import InferConfig
    from atomseg.localize.config import LocalizeConfig
    from atomseg.measure import LatticeConfig, MeasureConfig

    kinds = {
        "infer": InferConfig,
        "localize": LocalizeConfig,
        "classify": ClassifyConfig,
        "measure": MeasureConfig,
        "lattice": LatticeConfig,
    }
    if not any(section in config for section in kinds):
        return None
    changed = []
    for section, kind in kinds.items():
        default, given = kind(), config.get(section)
        if not isinstance(given, Mapping):
            continue
        for field in fields(kind):  # type: ignore[arg-type]
            if field.name in given and _plain(given[field.name]) != _plain(getattr(default, field.name)):
                changed.append(f"{section}.{field.name} = {given[field.name]}")
    return changed


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _value(record: AnalysisRecord, section: str, key: str) -> Any:
    settings = record.provenance.config.get(section)
    return settings.get(key) if isinstance(settings, Mapping) else None

"""Which micrographs a command names, and the result folder of each; decided before anything runs."""

import glob
import os
import shlex
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from atomseg.errors import UsageError
from atomseg.io import MICROGRAPH_SUFFIXES, is_result_folder

# Formats that are folders on disk.
_FOLDER_SUFFIXES = frozenset({".zspy"})
# Formats that images are exported to; raw data are more often in one of the others.
_PICTURE_SUFFIXES = frozenset({".tif", ".tiff", ".png", ".jpg", ".jpeg", ".bmp"})
# File that marks a folder as a scene with its truth, which is not there to be mapped.
_TRUTH_MARK = "truth.json"
# What a batch itself writes into the output folder.
RESERVED_NAMES = frozenset(
    {"summary.csv", "report.html", "assets", "cohort.json", "cohort.csv", "cohort_differences.csv"}
    | {f"cohort_figure.{kind}" for kind in ("pdf", "svg", "png")}
)


@dataclass(frozen=True)
class Job:
    """One input and where its result goes.

    Parameters
    ----------
    source : str
        File, with ``::N`` where one of several signals was chosen.
    folder : str
        Result folder, relative to the output folder, with forward slashes.
    """

    source: str
    folder: str

    @property
    def path(self) -> Path:
        """The file, without the choice of a signal."""
        return Path(_split_choice(self.source)[0])


def plan_jobs(inputs: Sequence[str | Path], output: Path) -> list[Job]:
    """One job a micrograph, with results that mirror the input tree below the inputs' common folder.

    Parameters
    ----------
    inputs : sequence of str or pathlib.Path
        Files, folders (searched for known formats) or glob patterns.
    output : pathlib.Path
        Output folder; it is left out when a searched folder contains it.

    Raises
    ------
    UsageError
        If a folder or pattern holds no micrograph, or two inputs would share a result folder.
    """
    found: dict[str, None] = {}
    anchors: list[Path] = []
    for item in inputs:
        for anchor, source in _expand(str(item), output):
            anchors.append(anchor)
            found[source] = None
    if not found:
        raise UsageError("no input; give files, folders or patterns")
    try:
        base = Path(os.path.commonpath([str(anchor) for anchor in anchors]))
    except ValueError as exc:
        raise UsageError("the inputs lie on different drives; map each drive with its own output folder") from exc
    jobs = [Job(source, _result_folder(source, base)) for source in found]
    _refuse_shared(jobs, base)
    return jobs


def prepare_output(output: Path) -> None:
    """Make the output folder and see that it can be written.

    Raises
    ------
    UsageError
        If it is a file, or can not be made or written.
    """
    if output.exists() and not output.is_dir():
        raise UsageError(f"output {output} is a file; give a folder")
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output):
            pass
    except OSError as exc:
        raise UsageError(f"output folder {output} can not be written: {exc.strerror or exc}") from exc


def _expand(item: str, output: Path) -> Iterator[tuple[Path, str]]:
    """(anchor, source) of every micrograph that one argument names; the anchor takes part in the common folder."""
    name, choice = _split_choice(item)
    path = Path(name)
    if path.is_dir() and path.suffix.lower() not in _FOLDER_SUFFIXES:
        files = sorted(_micrographs_below(path, output.resolve()))
        if not files:
            raise UsageError(f"folder {item} holds no micrograph ({', '.join(sorted(MICROGRAPH_SUFFIXES))})")
        yield from ((_absolute(path), str(_absolute(file))) for file in files)
    elif not path.exists() and glob.has_magic(name):
        matches = sorted(glob.glob(name, recursive=True))  # noqa: PTH207 - the pattern may be absolute
        if not matches:
            raise UsageError(f"pattern {item} matches no file")
        for match in matches:
            yield from _expand(match, output)
    else:
        # A missing file is a job too: it gets its row in the summary, and the others run.
        yield _absolute(path).parent, str(_absolute(path)) + choice


def _micrographs_below(folder: Path, output: Path) -> Iterator[Path]:
    entries = sorted(folder.iterdir())
    names = {entry.name for entry in entries}
    if folder.resolve() == output or is_result_folder(folder):
        return
    for entry in entries:
        if entry.name.startswith(".") or (_TRUTH_MARK in names and entry.name.startswith("truth")):
            continue
        known = entry.suffix.lower() in MICROGRAPH_SUFFIXES
        if entry.is_dir() and entry.suffix.lower() not in _FOLDER_SUFFIXES:
            yield from _micrographs_below(entry, output)
        elif known:
            yield entry


def _split_choice(source: str) -> tuple[str, str]:
    name, colons, choice = source.rpartition("::")
    return (name, colons + choice) if colons and not Path(source).exists() else (source, "")


def _absolute(path: Path) -> Path:
    # Not resolved: a linked file is known by the name that the user sees.
    return Path(os.path.abspath(path))  # noqa: PTH100


def _result_folder(source: str, base: Path) -> str:
    name, choice = _split_choice(source)
    relative = Path(name).relative_to(base).with_suffix("").as_posix()
    return relative + choice.replace("::", "_")


def _refuse_shared(jobs: Iterable[Job], base: Path) -> None:
    by_folder: dict[str, list[str]] = defaultdict(list)
    for job in jobs:
        by_folder[job.folder].append(job.source)
    shared = {folder: sources for folder, sources in by_folder.items() if len(sources) > 1}
    if shared:
        folder, sources = next(iter(shared.items()))
        more = f", and {len(shared) - 1} more result folders would be shared" if len(shared) > 1 else ""
        # Not told apart by their suffixes: where a result goes would then depend on which files lie beside its input.
        raise UsageError(
            f"{' and '.join(sources)} would share the result folder {folder}{more}; "
            f"{_one_kind(sources, base)}rename them, or map them into two output folders"
        )
    for folder, sources in by_folder.items():
        if folder in RESERVED_NAMES:
            raise UsageError(
                f"the result folder of {sources[0]} would be {folder}, which the batch itself writes; rename the input"
            )
        parents = [parent.as_posix() for parent in Path(folder).parents if parent.as_posix() in by_folder]
        if parents:
            raise UsageError(
                f"the result folder of {sources[0]} would lie inside that of {by_folder[parents[0]][0]}; "
                "rename one or map them into two folders"
            )


def _one_kind(sources: Sequence[str], base: Path) -> str:
    """How to leave the exports of an image out, where files of one name differ in their suffix."""
    files = [Path(_split_choice(source)[0]) for source in sources]
    suffixes = sorted({file.suffix for file in files}, key=lambda suffix: (suffix.lower() in _PICTURE_SUFFIXES, suffix))
    if len(suffixes) < 2:  # two signals of one file, or two files whose names end alike
        return ""
    below = "" if all(file.parent == base for file in files) else "**/"
    pattern = shlex.quote(f"{glob.escape(str(base))}/{below}*{suffixes[0]}")
    return f"if one is an export of the other, name only the raw ones (atomseg map {pattern} ...); otherwise "

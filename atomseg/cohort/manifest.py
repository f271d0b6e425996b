"""Which micrograph belongs to which group and particle: from a table that a person wrote, or from the folder tree."""

import csv
import io
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from atomseg.errors import UsageError
from atomseg.io import MICROGRAPH_SUFFIXES, MeasuredResult

# Words for the same column, after lower case and with underscores for blanks.
_SAME = {"surface": "surface_kind", "surface_type": "surface_kind", "path": "file", "filename": "file", "image": "file"}
UNNAMED = "(unnamed)"
UNKNOWN_KIND = "unknown"


@dataclass(frozen=True)
class ManifestRow:
    """One line: a micrograph, or one surface of it.

    Parameters
    ----------
    line : int
        Number of the line in the file, the header is 1.
    file : str
        Micrograph as written.
    values : dict
        The other columns.
    """

    line: int
    file: str
    values: dict[str, str]


@dataclass(frozen=True)
class Manifest:
    """A manifest: file, sample, particle, surface type, cycle, anything else.

    Parameters
    ----------
    path : pathlib.Path
        Where it was read from; relative files are seen from its folder.
    columns : tuple of str
        Names of the columns beside the file.
    rows : tuple of ManifestRow
        In the order of the file.
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[ManifestRow, ...]


@dataclass(frozen=True)
class Label:
    """Where one result belongs.

    Parameters
    ----------
    group, sample, particle : str
        Names.
    kinds : dict
        Kind of surface by surface number; -1 stands for all that are not named.
    """

    group: str
    sample: str
    particle: str
    kinds: dict[int, str]


@dataclass(frozen=True)
class Assignment:
    """Labels of all results, and what did not fit.

    Parameters
    ----------
    labels : dict
        Label by result folder; results without a row have none.
    group_by : tuple of str
        Columns that make the groups.
    rows_without_result, results_without_row : tuple of str
        Files as written in the manifest; result folders.
    notes : tuple of str
        Sentences for a person.
    """

    labels: dict[str, Label]
    group_by: tuple[str, ...]
    rows_without_result: tuple[str, ...] = ()
    results_without_row: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def parse_manifest(text: str, path: Path) -> Manifest:
    """A manifest from the text of a CSV file (comma, semicolon or tab).

    Raises
    ------
    UsageError
        If there is no column ``file``, a column is there twice, or a row names no file.
    """
    lines = text.lstrip("\ufeff")
    header = lines.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    reader = csv.reader(io.StringIO(lines), delimiter=delimiter)
    names = [_column(name) for name in next(reader, [])]
    twice = sorted({name for name in names if names.count(name) > 1})
    if "file" not in names or twice:
        problem = f"column {twice[0]!r} is there twice" if twice else "there is no column 'file'"
        raise UsageError(
            f"{path}: {problem}; the first line names the columns, e.g. file,sample,particle,surface,cycle"
        )
    rows = []
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(names):
            raise UsageError(f"{path}, line {reader.line_num}: {len(cells)} cells, but the header has {len(names)}")
        values = {name: cell.strip() for name, cell in zip(names, cells, strict=True)}
        if not (file := values.pop("file")):
            raise UsageError(f"{path}, line {reader.line_num}: the file is empty; name a micrograph")
        rows.append(ManifestRow(reader.line_num, file, values))
    if not rows:
        raise UsageError(f"{path} has no rows; write one line a micrograph")
    return Manifest(path, tuple(name for name in names if name != "file"), tuple(rows))


def assign_by_manifest(
    results: Sequence[MeasuredResult], manifest: Manifest, group_by: Sequence[str] | None = None
) -> Assignment:
    """Labels from a manifest, matched by the input's path, or by as much of the end of it as the row gives.

    Parameters
    ----------
    results : sequence of MeasuredResult
        All results.
    manifest : Manifest
        The table.
    group_by : sequence of str, optional
        Columns whose values together make a group; None takes ``sample``, and ``cycle`` where there is one.

    Raises
    ------
    UsageError
        If a column is missing, a row fits several micrographs, or two rows say different things about one.
    """
    columns = _group_columns(manifest, group_by)
    folders_of: dict[str, list[ManifestRow]] = defaultdict(list)
    missing = []
    for row in manifest.rows:
        found = _results_of(row, results, manifest.path)
        if not found:
            missing.append(row.file)
        for result in found:
            folders_of[result.folder].append(row)
    labels = {folder: _label(rows, columns, manifest.path) for folder, rows in folders_of.items()}
    unlabelled = tuple(result.folder for result in results if result.folder not in labels)
    return Assignment(labels, columns, tuple(dict.fromkeys(missing)), unlabelled, _unnamed_note(labels, "the manifest"))


def assign_by_folder(results: Sequence[MeasuredResult]) -> Assignment:
    """Labels from the result folders' tree: the first level is the sample, the second the particle."""
    labels = {}
    for result in results:
        *parents, _ = result.folder.split("/")
        sample = parents[0] if parents else "all"
        labels[result.folder] = Label(sample, sample, parents[1] if len(parents) > 1 else UNNAMED, {})
    return Assignment(labels, ("sample",), notes=_unnamed_note(labels, "the folders"))


def plain_kind(text: str) -> str:
    """A kind of surface as one word: ``Outer surface`` and ``outer`` are the same; nothing is ``unknown``."""
    words = text.lower().replace("_", " ").split()
    return "_".join(words[:-1] if words[-1:] == ["surface"] else words) or UNKNOWN_KIND


def _column(name: str) -> str:
    plain = "_".join(name.strip().lower().replace("-", " ").split())
    return _SAME.get(plain, plain)


def _group_columns(manifest: Manifest, group_by: Sequence[str] | None) -> tuple[str, ...]:
    names = manifest.columns
    if group_by is None:
        if "sample" not in names:
            raise UsageError(f"{manifest.path} has no column 'sample'; add it, or name other columns with --group-by")
        return ("sample", "cycle") if "cycle" in names else ("sample",)
    columns = tuple(_column(name) for name in group_by)
    unknown = [name for name in columns if name not in names or name in {"particle", "surface_kind", "surface_id"}]
    if unknown or not columns:
        allowed = [name for name in names if name not in {"particle", "surface_kind", "surface_id"}]
        raise UsageError(f"--group-by {','.join(group_by)}: allowed are the columns {', '.join(allowed) or 'none'}")
    return columns


def _parts(path: str) -> tuple[str, ...]:
    """Parts of a path of any operating system, without the suffix of a micrograph."""
    pure = PurePosixPath(path.replace("\\", "/"))
    if pure.suffix.lower() in MICROGRAPH_SUFFIXES:
        pure = pure.with_suffix("")
    return tuple(part for part in pure.parts if part not in {"/", "."})


def _results_of(row: ManifestRow, results: Sequence[MeasuredResult], manifest: Path) -> list[MeasuredResult]:
    where = os.path.abspath(manifest.parent / row.file)  # noqa: PTH100 - a link is known by the name the user sees
    exact = [result for result in results if os.path.abspath(result.path) == where]  # noqa: PTH100
    if exact:
        return exact
    tail = _parts(row.file)
    n = len(tail)
    found = [r for r in results if n and tail in {_parts(r.path)[-n:], _parts(r.folder)[-n:]}]
    if len({result.path for result in found}) > 1:
        raise UsageError(
            f"{manifest}, line {row.line}: {row.file} fits {len(found)} results "
            f"({', '.join(r.folder for r in found[:3])}); write more of its path"
        )
    return found


def _label(rows: Sequence[ManifestRow], columns: Sequence[str], path: Path) -> Label:
    first, kinds = rows[0], {}
    for row in rows:
        differing = [c for c in ("sample", "particle", *columns) if row.values.get(c) != first.values.get(c)]
        if differing:
            raise UsageError(f"{path}, lines {first.line} and {row.line}: one micrograph, but another {differing[0]}")
        surface = _surface_number(row, path)
        if surface in kinds:
            raise UsageError(
                f"{path}, lines {first.line} and {row.line}: {row.file} is there twice; give each of its surfaces a "
                "line of its own with the column surface_id, or remove one"
            )
        kinds[surface] = plain_kind(row.values.get("surface_kind", ""))
    group = " / ".join(first.values[name] or UNNAMED for name in columns)
    return Label(group, first.values.get("sample") or group, first.values.get("particle") or UNNAMED, kinds)


def _surface_number(row: ManifestRow, path: Path) -> int:
    text = row.values.get("surface_id", "")
    if not text:
        return -1
    if not text.isdecimal():
        raise UsageError(f"{path}, line {row.line}: surface_id {text!r}; allowed are 0, 1, 2 ..., or empty for all")
    return int(text)


def _unnamed_note(labels: dict[str, Label], source: str) -> tuple[str, ...]:
    n = sum(label.particle == UNNAMED for label in labels.values())
    if not n:
        return ()
    return (
        f"{source} do not say which particle {n} of {len(labels)} micrographs show: those of one sample count as one "
        "particle, since images of one particle are no independent measurements. Name particles in a manifest, or put "
        "them into folders sample/particle",
    )

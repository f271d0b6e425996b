"""`atomseg report`: cohort tables and figures from result folders, without mapping anything again."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from atomseg.cli.errors import EXIT_FAILED, one_line_errors
from atomseg.errors import OutputError, UsageError

if TYPE_CHECKING:
    from atomseg.cohort import CohortConfig, CohortStatistics


@one_line_errors
def report_command(  # noqa: PLR0917 - Typer reads the options off the signature
    output: Annotated[Path, typer.Argument(metavar="OUT", help="Folder written by `atomseg map`.")],
    manifest: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="CSV with file, sample, particle, surface, cycle, anything else; without it the folders below OUT "
            "are sample/particle.",
        ),
    ] = None,
    group_by: Annotated[
        str | None,
        typer.Option(metavar="COLUMNS", help="Columns of the manifest that make the groups, with commas."),
    ] = None,
    tau_nm: Annotated[
        float | None, typer.Option(metavar="F", help="Depth of restricted means; else what all groups can see to.")
    ] = None,
    test: Annotated[
        str | None,
        typer.Option(metavar="OUTCOMES", help="Outcomes to test, with commas; fewer lose less to Holm's correction."),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the resampling.")] = 0,
) -> None:
    """Compare groups of particles: thickness, phases and faults, as tables, figures and report.html.

    Particles are the unit, censored layers count as lower bounds, and kinds of surface are never pooled. Exit code 0:
    all done; 1: a row of the manifest has no result or a result can not be read (listed); 2: bad usage.
    """
    if group_by is not None and manifest is None:
        raise UsageError("--group-by names columns of a manifest; give --manifest too")

    from atomseg.cohort import CohortConfig, cohort_text

    tested = _columns(test) or CohortConfig.tested
    config = CohortConfig(tau_nm=tau_nm, seed=seed, tested=tested)
    statistics, damaged = build_report(output, manifest, _columns(group_by), config)
    typer.echo(cohort_text(statistics))
    typer.echo(f"cohort.csv, cohort_differences.csv, cohort.json and cohort_figure.pdf, .svg, .png are in {output}")
    for folder in statistics.results_without_row:
        typer.echo(f"left out: the manifest has no row for {folder}", err=True)
    for file in statistics.rows_without_result:
        typer.echo(f"missing: no result for {file}", err=True)
    if statistics.rows_without_result or damaged:
        raise typer.Exit(EXIT_FAILED)


def build_report(
    output: Path, manifest: Path | None, group_by: tuple[str, ...] | None, config: "CohortConfig"
) -> "tuple[CohortStatistics, tuple[str, ...]]":
    """Compute the statistics of an output folder and write their tables and figures into it.

    Parameters
    ----------
    output : pathlib.Path
        Folder that `atomseg map` wrote.
    manifest : pathlib.Path or None
        Groups and particles; None takes them from the folders.
    group_by : tuple of str or None
        Columns that make the groups; None for the usual ones.
    config : CohortConfig
        Settings of the statistics.

    Returns
    -------
    statistics : CohortStatistics
        What was written.
    damaged : tuple of str
        Why results could not be read; they are left out.

    Raises
    ------
    UsageError
        If there is no result, or the manifest does not fit.
    OutputError
        If nothing can be written.
    """
    from atomseg.batch import CohortTable
    from atomseg.cohort import (
        assign_by_folder,
        assign_by_manifest,
        cohort_files,
        cohort_statistics,
        gather,
        parse_manifest,
    )
    from atomseg.io import find_results, read_measured, replace_files
    from atomseg.report import cohort_figure_files

    told = None if manifest is None else parse_manifest(read_manifest(manifest), manifest)
    results, damaged = [], []
    for folder in find_results(output):
        try:
            results.append(read_measured(folder, output))
        except OutputError as exc:
            damaged.append(str(exc))
    if not results:
        raise UsageError(f"{output} holds no result; say `atomseg map INPUT... -o {output}` first")
    assignment = assign_by_folder(results) if told is None else assign_by_manifest(results, told, group_by)
    observations = gather(results, assignment)
    notes = (*observations.notes, *(f"left out: {text}" for text in damaged))
    statistics = cohort_statistics(dataclasses.replace(observations, notes=notes), config)
    if not statistics.groups:
        raise UsageError(f"nothing to compare: no result in {output} has a surface or judged phases and a row")
    replace_files(output, {**cohort_files(statistics), **cohort_figure_files(statistics)})
    # Table and page of all micrographs too: the page shows the statistics.
    table = CohortTable(output)
    table.begin()
    table.end()
    return statistics, tuple(damaged)


def _columns(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(part.strip() for part in text.split(",") if part.strip())


def read_manifest(path: Path) -> str:
    """Text of a manifest; a usage error where it can not be read."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"--manifest {path} is not text in UTF-8; save it as CSV (UTF-8)") from None
    except OSError as exc:
        raise UsageError(f"--manifest {path} can not be read: {exc.strerror or exc}") from exc

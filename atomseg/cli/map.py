"""`atomseg map`: micrographs in, tables, maps and figures out."""

import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from atomseg.cli.errors import EXIT_FAILED, one_line_errors
from atomseg.cli.options import check_device, check_frame, check_heads, check_workers, parse_outputs, parse_pixel_size
from atomseg.cli.report import read_manifest, report_command
from atomseg.errors import UsageError

if TYPE_CHECKING:
    from atomseg.batch import BatchSettings, Job, Outcome
    from atomseg.batch.cluster import Cluster


_SAVE = typer.Option(
    metavar="NAMES",
    help="Pictures to write as well, with commas: circular_mask, gaussian_mask, denoised, denoised_without_background, "
    "super_resolved.",
)


@one_line_errors
def map_command(  # noqa: PLR0917 - Typer reads the options off the signature
    inputs: Annotated[list[str], typer.Argument(metavar="INPUT...", help="Micrographs, folders of them, or patterns.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="OUT", help="Folder for the results.")],
    pixel_size_nm: Annotated[
        str | None,
        typer.Option(metavar="F", help="Pixel size in nm (or Y,X); overrides what the files say."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME|PATH", help="Released model; see `atomseg models`.")
    ] = None,
    config: Annotated[str | None, typer.Option(metavar="FILE", help="YAML with settings; see configs/map.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="One setting, e.g. measure.point_spacing_nm=0.5; repeatable."),
    ] = None,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda", help="Where the network runs.")] = "auto",
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", help="Processes; by default as many as the cores, GPUs and memory allow."),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Dask scheduler of a cluster that runs already, e.g. tcp://node1:8786."),
    ] = None,
    frame: Annotated[
        str, typer.Option(metavar="mean|N|all", help="Of a stack: the average, one frame, or each.")
    ] = "mean",
    save: Annotated[str | None, _SAVE] = None,
    manifest: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="CSV with file, sample, particle, surface ...: compare groups when done."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Map again what is already there.")] = False,
) -> None:
    """Find columns, phases and the reconstruction thickness of micrographs.

    A finished micrograph is skipped on the next run, so an interrupted run is resumed by saying it again. Exit code
    0: all done; 1: some files failed or were refused (listed); 2: bad usage.
    """
    size, frame, device = parse_pixel_size(pixel_size_nm), check_frame(frame), check_device(device)
    workers, outputs = check_workers(workers), parse_outputs(save)
    _check_cluster(workers, scheduler)
    from atomseg.batch import BatchSettings, plan_jobs, prepare_output
    from atomseg.config import load_map_config

    _check_manifest(manifest)

    settings = BatchSettings(
        # Workers may have another working folder.
        output=output.absolute(),
        config=load_map_config(config, set_ or ()),
        pixel_size_nm=size,
        device=device,
        frame=frame,
        overwrite=overwrite,
        outputs=outputs,
    )
    jobs = plan_jobs(inputs, output)
    with _cluster(scheduler) as cluster:
        settings = _with_model(settings, model, elsewhere=cluster is not None)
        prepare_output(output)
        counts = _run(jobs, settings, workers, cluster)
    _finish(counts, output, manifest)


def _finish(counts: Counter[str], output: Path, manifest: Path | None) -> None:
    """The last line, the groups where they are asked for, and the exit code."""
    typer.echo(f"{', '.join(f'{n} {status}' for status, n in counts.items())}; results in {output}")
    if manifest is not None:
        report_command(output, manifest=manifest)
    if counts["failed"] + counts["refused"]:
        raise typer.Exit(EXIT_FAILED)


def _check_cluster(workers: int | None, scheduler: str | None) -> None:
    if workers is not None and scheduler is not None:
        raise UsageError("--workers and --scheduler exclude each other: a cluster that runs already has its workers")


def _check_manifest(manifest: Path | None) -> None:
    """A mistake in a manifest is told before hours of mapping, not after."""
    if manifest is not None:
        from atomseg.cohort import parse_manifest

        parse_manifest(read_manifest(manifest), manifest)


@contextmanager
def _cluster(scheduler: str | None) -> "Iterator[Cluster | None]":
    if scheduler is None:
        yield None
        return
    from atomseg.batch.cluster import join_cluster

    with join_cluster(scheduler) as cluster:
        yield cluster


def _with_model(settings: "BatchSettings", name: str | None, *, elsewhere: bool) -> "BatchSettings":
    """The settings with the model found and checked: a wrong one stops the batch before the first file, not in each."""
    from dataclasses import replace

    from atomseg.batch.work import loaded_model
    from atomseg.networks import choose_device

    if not elsewhere:
        choose_device(settings.device)
    # On the CPU, where it is checked: a GPU's memory is for those who work on it.
    network = loaded_model(name, "cpu")
    check_heads(settings.outputs, network.card.id, network.card.heads)
    return replace(settings, model=str(network.folder.absolute()), model_sha256=network.sha256)


def _run(jobs: "list[Job]", settings: "BatchSettings", workers: int | None, cluster: "Cluster | None") -> Counter[str]:
    from tqdm import tqdm

    from atomseg.batch import CohortTable, run_jobs

    table = CohortTable(settings.output)
    table.begin()
    counts: Counter[str] = Counter()
    with tqdm(total=len(jobs), unit="file", dynamic_ncols=True, disable=None) as bar:
        results = run_jobs(
            jobs,
            settings,
            workers=workers,
            cluster=cluster,
            on_stage=bar.set_postfix_str,
            on_cluster=lambda text: bar.write(text, file=sys.stderr),
        )
        try:
            with closing(results):
                for _, told in results:
                    counts.update(outcome.status for outcome in told)
                    table.tell(told)
                    for outcome in told:
                        bar.write(outcome_line(outcome))
                    bar.update()
        finally:
            table.end()
    return counts


def outcome_line(outcome: "Outcome") -> str:
    """What became of a file, in one line."""
    # Files of a folder often share a name; their result folders do not.
    name = outcome.folder
    if outcome.status in {"failed", "refused"}:
        return f"{outcome.status}  {name}: {outcome.reason}"
    parts = [f"{outcome.summary['columns']['n']} columns"]
    parts += [f"{key} {share:.0%}" for key, share in outcome.summary["phase_fractions"].items() if share >= 0.005]
    parts += _thickness(outcome.summary.get("thickness"))
    return f"{outcome.status}  {name}: {', '.join(parts)}"


def _thickness(thickness: Mapping[str, Any] | None) -> list[str]:
    """The layer in a few words; surface by surface where one number would be that of none of them."""
    from atomseg.io import surfaces_from
    from atomseg.report import surfaces_line
    from atomseg.types.reconstruction import surfaces_differ

    surfaces = surfaces_from(thickness)
    if surfaces_differ(surfaces):
        return [f"the surfaces differ: {surfaces_line(surfaces)}"]
    entry = thickness or {}
    told = entry["mean_nm"] if entry.get("mean_nm") is not None else entry.get("lower_bound_nm")
    if told is None:
        return []
    bound = "at least " if entry["censored"] else ""
    return [f"thickness {bound}{told:.1f} nm ({entry['class'] or 'class not decided'})"]

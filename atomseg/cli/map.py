"""`atomseg map`: micrographs in, tables, maps and figures out."""

from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from atomseg.cli.errors import EXIT_FAILED, one_line_errors
from atomseg.cli.options import check_device, check_frame, check_heads, check_workers, parse_outputs, parse_pixel_size
from atomseg.errors import UsageError

if TYPE_CHECKING:
    from atomseg.batch import BatchSettings, Job, Outcome


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
    workers: Annotated[int, typer.Option(metavar="N", help="Processes, for many micrographs.")] = 1,
    scheduler: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Dask scheduler of a cluster; not available yet, use --workers."),
    ] = None,
    frame: Annotated[
        str, typer.Option(metavar="mean|N|all", help="Of a stack: the average, one frame, or each.")
    ] = "mean",
    save: Annotated[str | None, _SAVE] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Map again what is already there.")] = False,
) -> None:
    """Find columns, phases and the reconstruction thickness of micrographs.

    A finished micrograph is skipped on the next run, so an interrupted run is resumed by saying it again. Exit code
    0: all done; 1: some files failed or were refused (listed); 2: bad usage.
    """
    if scheduler is not None:
        raise UsageError("--scheduler is not available yet; use --workers N on one machine")
    size, frame, device = parse_pixel_size(pixel_size_nm), check_frame(frame), check_device(device)
    workers, outputs = check_workers(workers), parse_outputs(save)

    from atomseg.batch import BatchSettings, plan_jobs, prepare_output
    from atomseg.batch.work import loaded_model
    from atomseg.config import load_map_config

    settings = BatchSettings(
        output=output,
        config=load_map_config(config, set_ or ()),
        pixel_size_nm=size,
        model=model,
        device=device,
        frame=frame,
        overwrite=overwrite,
        outputs=outputs,
    )
    jobs = plan_jobs(inputs, output)
    network = loaded_model(model, device)  # a wrong model stops the batch before the first file, not in every file
    check_heads(outputs, network.card.id, network.card.heads)
    prepare_output(output)
    counts = _run(jobs, settings, workers)
    typer.echo(f"{', '.join(f'{n} {status}' for status, n in counts.items())}; results in {output}")
    if counts["failed"] or counts["refused"]:
        raise typer.Exit(EXIT_FAILED)


def _run(jobs: "list[Job]", settings: "BatchSettings", workers: int) -> Counter[str]:
    from tqdm import tqdm

    from atomseg.batch import read_summary_table, run_jobs, write_cohort
    from atomseg.batch.table import merge_rows, outcome_row

    earlier = read_summary_table(settings.output / "summary.csv")
    outcomes: dict[Job, list[Outcome]] = {}
    counts: Counter[str] = Counter()
    with tqdm(total=len(jobs), unit="file", dynamic_ncols=True, disable=None) as bar:
        results = run_jobs(jobs, settings, workers=min(workers, len(jobs)), on_stage=bar.set_postfix_str)
        with closing(results):
            for job, told in results:
                outcomes[job] = told
                counts.update(outcome.status for outcome in told)
                rows = [outcome_row(outcome) for done in jobs for outcome in outcomes.get(done, ())]
                write_cohort(merge_rows(earlier, rows, settings.output), settings.output)
                for outcome in told:
                    bar.write(_line(outcome))
                bar.update()
    return counts


def _line(outcome: "Outcome") -> str:
    # Files of a folder often share a name; their result folders do not.
    name = outcome.folder
    if outcome.status in {"failed", "refused"}:
        return f"{outcome.status}  {name}: {outcome.reason}"
    thickness = outcome.summary.get("thickness") or {}
    parts = [f"{outcome.summary['columns']['n']} columns"]
    parts += [f"{key} {share:.0%}" for key, share in outcome.summary["phase_fractions"].items() if share >= 0.005]
    told = thickness["mean_nm"] if thickness.get("mean_nm") is not None else thickness.get("lower_bound_nm")
    if told is not None:
        bound = "at least " if thickness["censored"] else ""
        parts.append(f"thickness {bound}{told:.1f} nm ({thickness['class'] or 'class not decided'})")
    return f"{outcome.status}  {name}: {', '.join(parts)}"

"""What happens to one input of a batch, in whatever process it runs."""

import dataclasses
import json
import platform
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from atomseg.analysis import Analysis
from atomseg.batch.claims import claimed
from atomseg.batch.plan import Job
from atomseg.config import MapConfig, config_dict
from atomseg.errors import AtomsegError, CalibrationError, InputError, ModelError, OutputError
from atomseg.io import read_frames, result_matches, sha256_of, summarize
from atomseg.networks import choose_device, find_model, load_model
from atomseg.pipeline import input_settings, map_micrograph
from atomseg.types import Micrograph

if TYPE_CHECKING:
    from atomseg.networks import Model

Status = Literal["done", "skipped", "failed", "refused", "busy"]


@dataclass(frozen=True, kw_only=True)
class BatchSettings:
    """What all micrographs of a batch share.

    Parameters
    ----------
    output : pathlib.Path
        Output folder.
    config : MapConfig
        Settings of the stages.
    pixel_size_nm : float or tuple of float, optional
        Overrides what the files say, nm.
    model : str, optional
        Name or folder of the model; None takes the default. A folder that a worker on another machine does not have is
        looked for there by its name.
    model_sha256 : str, optional
        Hash that the weights must have wherever they are loaded, so that all workers map with the same network.
    device : str
        ``auto``, ``cpu`` or ``cuda``.
    frame : str
        ``mean``, the index of a frame, or ``all``.
    overwrite : bool
        Map again what is already there.
    outputs : tuple of str
        Pictures to write beside the results, of `atomseg.imaging.OUTPUTS`.
    """

    output: Path
    config: MapConfig
    pixel_size_nm: float | tuple[float, float] | None = None
    model: str | None = None
    model_sha256: str | None = None
    device: str = "auto"
    frame: str = "mean"
    overwrite: bool = False
    outputs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What became of one micrograph.

    Parameters
    ----------
    source : str
        Input file.
    folder : str
        Result folder relative to the output folder; there is one when the status is done or skipped.
    status : str
        done, skipped (an earlier result still holds), refused (not a micrograph that can be mapped) or failed; busy,
        which `run_jobs` keeps to itself, while another process works on it.
    reason : str
        Why, in one line; empty when done.
    summary : dict
        `summary.json` of the result; empty when there is none.
    """

    source: str
    folder: str
    status: Status
    reason: str = ""
    summary: dict[str, Any] = field(default_factory=dict)


def map_job(job: Job, settings: BatchSettings, on_stage: Callable[[str], None] | None = None) -> list[Outcome]:
    """Map one input and write its result; every failure becomes an outcome, so that the batch goes on.

    Parameters
    ----------
    job : Job
        Input and result folder.
    settings : BatchSettings
        What all inputs share.
    on_stage : callable, optional
        Called with the name of each stage as it begins.

    Returns
    -------
    list of Outcome
        One; with ``frame="all"`` one a frame.
    """
    outcomes: list[Outcome] = []
    try:
        outcomes.extend(_map_all(job, settings, on_stage))
    except (InputError, CalibrationError) as exc:
        outcomes.append(Outcome(job.source, job.folder, "refused", _one_line(exc)))
    except AtomsegError as exc:
        outcomes.append(Outcome(job.source, job.folder, "failed", _one_line(exc)))
    except MemoryError:
        outcomes.append(
            Outcome(
                job.source, job.folder, "failed", "out of memory; use fewer --workers or a smaller --set infer.tile"
            )
        )
    except Exception as exc:  # noqa: BLE001 - one bad file never stops the rest; the place of the mistake is kept
        outcomes.append(Outcome(job.source, job.folder, "failed", _unexpected(exc)))
    return outcomes


def loaded_model(name: str | None, device: str) -> "Model":
    """The network, loaded once a process.

    Raises
    ------
    ModelError
        If it is missing or its weights do not match its card.
    """
    return _loaded_model(find_model(name).resolve(), str(choose_device(device)))


@lru_cache(maxsize=1)
def _loaded_model(folder: Path, device: str) -> "Model":
    return load_model(folder, device=device)


def _map_all(job: Job, settings: BatchSettings, on_stage: Callable[[str], None] | None) -> Iterator[Outcome]:
    if settings.frame != "all":
        yield _map_one(job, job.source, settings, on_stage)
        return
    for index, micrograph in enumerate(read_frames(job.source, pixel_size_nm=settings.pixel_size_nm)):
        frame_job = Job(job.source, f"{job.folder}_frame{index:03d}")
        frame_settings = dataclasses.replace(settings, frame=str(index))
        try:
            yield _map_one(frame_job, micrograph, frame_settings, on_stage)
        except AtomsegError as exc:
            yield Outcome(job.source, frame_job.folder, "failed", f"frame {index}: {_one_line(exc)}")


def _map_one(
    job: Job, source: str | Micrograph, settings: BatchSettings, on_stage: Callable[[str], None] | None
) -> Outcome:
    if not settings.output.is_dir():
        # Made before anything runs: a worker that does not see it would write where nobody looks.
        raise OutputError(
            f"output folder {settings.output} is not there (on {platform.node()}); it has to be on a file system that "
            "the command and all workers share"
        )
    with claimed(settings.output, job.folder) as mine:
        if not mine:
            return Outcome(job.source, job.folder, "busy", "another process works on it")
        return _map_claimed(job, source, settings, on_stage)


def _map_claimed(
    job: Job, source: str | Micrograph, settings: BatchSettings, on_stage: Callable[[str], None] | None
) -> Outcome:
    folder = settings.output / job.folder
    if has_content(folder):
        if not settings.overwrite:
            _refuse_other_result(job, settings)
            return Outcome(job.source, job.folder, "skipped", "already done", read_result_summary(folder))
        if any(entry.is_dir() for entry in folder.iterdir()):
            raise OutputError(
                f"{folder} holds other folders, which --overwrite would remove; choose another output folder"
            )
    analysis = map_micrograph(
        source,
        pixel_size_nm=settings.pixel_size_nm,
        model=_network(settings),
        config=settings.config,
        frame=settings.frame,
        on_stage=on_stage,
    )
    if on_stage is not None:
        on_stage("write")
    analysis.save(folder, overwrite=settings.overwrite, outputs=settings.outputs, part_of=settings.output)
    return Outcome(job.source, job.folder, "done", "", _summary(analysis))


def has_content(folder: Path) -> bool:
    """Whether there is a folder with anything in it."""
    return folder.is_dir() and any(folder.iterdir())


def _network(settings: BatchSettings) -> "Model":
    """The network of the batch, on this machine."""
    name = settings.model
    if name is not None and Path(name).is_absolute() and not Path(name).exists():
        name = Path(name).name
    model = loaded_model(name, settings.device)
    if settings.model_sha256 not in {None, model.sha256}:
        raise ModelError(
            f"model {model.card.id} on {platform.node()} has sha256 {model.sha256[:12]}, the batch began with "
            f"{str(settings.model_sha256)[:12]}; install the same model on all machines"
        )
    return model


def _refuse_other_result(job: Job, settings: BatchSettings) -> None:
    """Stop where the folder holds anything but the complete result of this very input, settings and model."""
    folder = settings.output / job.folder
    config = {**config_dict(settings.config), "input": input_settings(settings.pixel_size_nm, settings.frame)}
    model_sha256 = settings.model_sha256 or _network(settings).sha256
    if not result_matches(folder, sha256=_sha256(job), config=config, model_sha256=model_sha256):
        raise OutputError(
            f"{folder} holds something else than this result (of another input, other settings or another model); "
            "give --overwrite to replace it, or another output folder"
        )
    missing = [name for name in settings.outputs if not (folder / f"{name}.tif").is_file()]
    if missing:
        raise OutputError(
            f"{folder} holds this result without {', '.join(missing)}; give --overwrite to map it again with them"
        )


def _sha256(job: Job) -> str:
    try:
        return sha256_of(job.path)
    except OSError as exc:
        raise InputError(f"{job.path} can not be read: {exc.strerror or exc}") from exc


def _summary(analysis: Analysis) -> dict[str, Any]:
    return dict(summarize(analysis))


def read_result_summary(folder: Path) -> dict[str, Any]:
    """`summary.json` of a result, without what only `read_analysis` needs."""
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    return {key: value for key, value in summary.items() if key != "stored"}


def _one_line(exc: BaseException) -> str:
    return " ".join(str(exc).split()) or type(exc).__name__


def _unexpected(exc: Exception) -> str:
    """A mistake of atomseg's own, with its place, so that a report of it is worth something."""
    last = traceback.extract_tb(exc.__traceback__)[-1]
    place = f"{Path(last.filename).name}:{last.lineno}"
    return f"unexpected {type(exc).__name__}: {_one_line(exc)} ({place}); please report it"

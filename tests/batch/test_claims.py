"""One process a result folder; what the dead left is tidied up, what the living do is left alone."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from atomseg.batch import BatchSettings, Job, map_job, run_jobs
from atomseg.batch.claims import CLAIMS, claimed, sweep, table_lock
from atomseg.config import MapConfig
from atomseg.errors import OutputError

pytestmark = pytest.mark.skipif(os.name != "posix", reason="locks as POSIX has them")

# Claims a folder in another process, half-writes a result there and waits to be killed.
OWNER = """
import sys, time
from pathlib import Path
from atomseg.batch.claims import claimed
from atomseg.io.atomic import whole_folder

output, folder = Path(sys.argv[1]), sys.argv[2]
with claimed(output, folder) as mine, whole_folder(output / folder, overwrite=True, replaceable=bool) as target:
    assert mine
    (target / "columns.csv").write_text("half")
    print("ready", flush=True)
    time.sleep(600)
"""


def _owner(output: Path, folder: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", OWNER, str(output), folder]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def _kill(process: "subprocess.Popen[str]") -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


def test_a_claim_excludes_others_until_its_owner_is_killed(tmp_path: Path) -> None:
    owner = _owner(tmp_path, "a/b")
    try:
        with claimed(tmp_path, "a/b") as mine:
            assert not mine
        with claimed(tmp_path, "a/c") as mine:
            assert mine
        sweep(tmp_path)  # leaves the living alone
        assert len(list((tmp_path / "a").glob(".atomseg-*.partial"))) == 1
    finally:
        _kill(owner)
    with claimed(tmp_path, "a/b") as mine:
        assert mine
        assert list((tmp_path / "a").iterdir()) == []  # the half result is gone
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]  # and the claims are


def test_sweeping_tidies_up_after_the_dead(tmp_path: Path) -> None:
    _kill(_owner(tmp_path, "x"))
    assert len(list(tmp_path.iterdir())) == 2
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_old_result_comes_back_when_its_successor_never_came(tmp_path: Path) -> None:
    owner = _owner(tmp_path, "x")
    (partial,) = tmp_path.glob(".atomseg-*.partial")
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "columns.csv").write_text("old")
    # Where it would be for an instant, had the owner come to putting the new one in its place.
    (tmp_path / "x").rename(partial.with_suffix(".old"))
    _kill(owner)
    sweep(tmp_path)
    assert (tmp_path / "x" / "columns.csv").read_text() == "old"
    assert list(tmp_path.iterdir()) == [tmp_path / "x"]


def test_a_busy_file_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atomseg.batch.run._BUSY_SECONDS", 0.1)
    settings = BatchSettings(output=tmp_path, config=MapConfig())
    job = Job(str(tmp_path / "gone.tif"), "gone")
    owner = _owner(tmp_path, "gone")
    try:
        assert map_job(job, settings)[0].status == "busy"
        results = run_jobs([job], settings)
        began = time.monotonic()
        # The owner dies while the run waits.
        killer = subprocess.Popen([sys.executable, "-c", f"import os, time; time.sleep(0.5); os.kill({owner.pid}, 9)"])
        ((_, (outcome,)),) = results
    finally:
        _kill(owner)
    killer.wait()
    assert time.monotonic() - began > 0.4
    assert outcome.status == "refused"  # its turn came: there is no such file


def test_without_locks_work_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", none)
    with claimed(tmp_path, "a") as mine:
        assert mine
    with table_lock(tmp_path):
        assert (tmp_path / CLAIMS).is_dir()
    assert list(tmp_path.iterdir()) == []


def test_a_worker_that_does_not_see_the_output_folder_says_so(tmp_path: Path) -> None:
    settings = BatchSettings(output=tmp_path / "elsewhere", config=MapConfig())
    (outcome,) = map_job(Job(str(tmp_path / "x.tif"), "x"), settings)
    assert outcome.status == "failed"
    assert "file system that the command and all workers share" in outcome.reason
    assert not (tmp_path / "elsewhere").exists()


def test_the_last_one_out_may_remove_the_folder_while_the_next_comes_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []
    make = Path.mkdir

    def removed_meanwhile(self: Path, *arguments: object, **options: object) -> None:
        tries.append(self)
        if len(tries) == 1:  # it was there when the system call came and is not when pathlib looks what is there
            raise FileExistsError(errno.EEXIST, "File exists", str(self))
        make(self, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "mkdir", removed_meanwhile)
    with claimed(tmp_path, "a") as mine:
        assert mine
    assert tries == [tmp_path / CLAIMS] * 2
    (tmp_path / CLAIMS).touch()  # a file is in the way for good
    with pytest.raises(OutputError, match="can not be written: Not a directory"), claimed(tmp_path, "a"):
        pass

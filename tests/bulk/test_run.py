"""Watching a job: progress, failures of blocks, and jobs that hang. Ray takes no part in these tests."""

import threading
from collections.abc import Iterator

import pytest

from planespotter_bulk.errors import BulkError, TemporaryError
from planespotter_bulk.progress import JobProgress, duration
from planespotter_bulk.ray_cluster import Pool
from planespotter_bulk.run import _watch
from planespotter_bulk.worker import Summary


def test_progress_shows_rate_time_left_predictions_and_failures(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = 1000.0
    monkeypatch.setattr("planespotter_bulk.progress.time.monotonic", lambda: clock)
    progress = JobProgress(total=10_000, done=2_000)
    clock += 20
    progress.add(Summary(1000, {"Airbus": 600, "Boeing": 390}, {"PHOTO_EMPTY": 10}, seconds=10))
    clock += 10
    progress.add(Summary(1000, {"Airbus": 500, "unknown": 500}, {}, deaths=1, seconds=10))
    progress.show()
    assert capsys.readouterr().err == (
        "4,000 of 10,000 photos (40.0 %), 100.0 photos/s, 1 min 0 s left: Airbus 1,100, unknown 500, Boeing 390, "
        "failed 10 (PHOTO_EMPTY 10)\n"
    )
    assert progress.summary() == (
        "2,000 photos, 100.0 photos/s: Airbus 1,100, unknown 500, Boeing 390, failed 10 (PHOTO_EMPTY 10). 2,000 were "
        "answered by earlier runs. Workers died 1 time, and their photos were classified again. If memory is short, "
        "use larger machines, or fewer workers with a higher --worker-cpus."
    )


def test_progress_line_is_printed_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    progress = JobProgress(total=10, done=0)
    progress.show()
    assert not capsys.readouterr().err


@pytest.mark.parametrize(
    ("seconds", "text"), [(9, "9 s"), (61, "1 min 1 s"), (7200, "2 h 0 min"), (200_000, "2 d 7 h")]
)
def test_durations_have_two_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("pool", "text"),
    [(Pool(1, 2, 0), "1 worker with 2 cores"), (Pool(8, 1, 1), "8 workers with 1 core and a GPU each")],
)
def test_workers_are_described(pool: Pool, text: str) -> None:
    assert str(pool) == text


def test_job_that_commits_nothing_ends_itself_with_code_75() -> None:
    never = threading.Event()

    def hang() -> Iterator[str]:
        yield Summary(5, {"Airbus": 5}).to_json()
        never.wait(60)

    progress = JobProgress(10, 0)
    with pytest.raises(TemporaryError, match=r"No block was committed for 0\.01 minutes") as raised:
        _watch(hang(), progress, 0.6)
    never.set()
    assert raised.value.exit_code == 75
    assert progress.photos == 5


@pytest.mark.parametrize(("code", "kind"), [(75, TemporaryError), (1, BulkError)])
def test_failure_of_a_block_ends_the_job_with_its_sentence(code: int, kind: type[BulkError]) -> None:
    summaries = iter([Summary(failure="The store cannot be reached.", exit_code=code).to_json()])
    with pytest.raises(kind, match="The store cannot be reached") as raised:
        _watch(summaries, JobProgress(10, 0), 60)
    assert raised.value.exit_code == code


def test_error_of_ray_reaches_the_command() -> None:
    def fail() -> Iterator[str]:
        yield Summary(5).to_json()
        raise TemporaryError("Ray ended the job.")

    with pytest.raises(TemporaryError, match="Ray ended the job"):
        _watch(fail(), JobProgress(10, 0), 60)

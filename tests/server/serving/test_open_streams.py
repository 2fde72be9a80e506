"""Open streams: idle, old, stalled and unauthorized ones end."""

import asyncio
from contextlib import ExitStack

import pytest

from planespotter_server.rejections import RequestRejected
from planespotter_server.serving.open_streams import OpenStreams
from planespotter_server.serving.stream import OpenStream


class RecordedStream(OpenStream):
    """A stream that records how it was ended."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[str] = []

    def drain(self) -> None:
        self.ends.append("drain")

    def reject(self, error: Exception) -> None:
        self.ends.append(f"reject: {error}")

    def abort(self, error: Exception) -> None:
        assert isinstance(error, RequestRejected)
        self.ends.append(f"abort: {error.reason}")


@pytest.fixture
async def stream(monkeypatch: pytest.MonkeyPatch) -> RecordedStream:
    stream = RecordedStream()
    monkeypatch.setattr("planespotter_server.serving.open_streams.OpenStream", lambda: stream)
    return stream


def accepted() -> None:
    pass


def revoked() -> None:
    raise RequestRejected("TOKEN_INVALID", "revoked")


async def test_stream_is_drained_only_while_it_waits_for_its_client_with_no_photo_in_flight(
    stream: RecordedStream,
) -> None:
    streams, now = OpenStreams(idle_timeout=10, max_age=1000), asyncio.get_running_loop().time()
    with streams.add(accepted):
        streams.enforce(now + 100)
        assert not stream.ends, "it waits for capacity, not for its client"
        stream.receiving_since, stream.in_flight = now, 1
        streams.enforce(now + 100)
        assert not stream.ends
        stream.in_flight = 0
        streams.enforce(now + 9)
        assert not stream.ends
        streams.enforce(now + 10)
        assert stream.ends == ["drain"]
    streams.enforce(now + 10)
    assert stream.ends == ["drain"], "closed streams are forgotten"


async def test_old_stream_is_drained_at_its_own_age(stream: RecordedStream) -> None:
    streams = OpenStreams(idle_timeout=10, max_age=50)
    with streams.add(accepted):
        streams.enforce(stream.opened_at + 39)
        assert not stream.ends
        streams.enforce(stream.opened_at + 60)
    assert stream.ends == ["drain"]


async def test_streams_that_were_opened_together_are_drained_one_after_another() -> None:
    streams, ages = OpenStreams(idle_timeout=10, max_age=50), []
    with ExitStack() as stack:
        opened = [stack.enter_context(streams.add(accepted)) for _ in range(200)]
        ages = [streams._ends[stream] - stream.opened_at for stream in opened]
    assert 40 <= min(ages) < 43
    assert 57 < max(ages) <= 60
    assert sum(age < 50 for age in ages) == pytest.approx(100, abs=50)


async def test_stream_has_no_maximum_age_unless_one_is_set(stream: RecordedStream) -> None:
    streams = OpenStreams(idle_timeout=10, max_age=0)
    with streams.add(accepted):
        stream.in_flight = 1
        streams.enforce(stream.opened_at + 10_000_000)
    assert not stream.ends


async def test_stream_whose_client_reads_no_response_is_aborted(stream: RecordedStream) -> None:
    streams, now = OpenStreams(idle_timeout=10, max_age=1000), asyncio.get_running_loop().time()
    with streams.add(accepted):
        stream.sending_since, stream.in_flight = now, 3
        streams.enforce(now + 9)
        assert not stream.ends
        streams.enforce(now + 10)
    assert stream.ends == ["abort: CLIENT_TOO_SLOW"]


async def test_stream_whose_token_is_revoked_is_rejected(stream: RecordedStream) -> None:
    streams = OpenStreams(idle_timeout=10, max_age=1000)
    with streams.add(revoked):
        streams.enforce(stream.opened_at)
    assert stream.ends == ["reject: revoked"]

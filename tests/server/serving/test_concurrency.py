"""Concurrency limits: open calls per client, and open streams in total."""

import pytest

from planespotter_server.rejections import RequestRejected
from planespotter_server.serving.concurrency import ConcurrencyLimiter


def test_client_with_too_many_calls_is_rejected_and_others_are_not() -> None:
    limiter = ConcurrencyLimiter(max_streams=9, max_calls_per_client=2, max_streams_per_client=9)
    with limiter.acquire("a", stream=False), limiter.acquire("a", stream=True):
        with (
            pytest.raises(RequestRejected, match="too many open calls: 2; the limit is 2") as rejected,
            limiter.acquire("a", stream=False),
        ):
            pass
        assert rejected.value.reason == "TOO_MANY_CALLS"
        assert rejected.value.metadata == {"calls": "2", "limit": "2"}
        assert rejected.value.retry_after is not None
        with limiter.acquire("b", stream=False):
            pass
    with limiter.acquire("a", stream=False):
        pass


def test_too_many_streams_are_rejected_and_unary_calls_are_not() -> None:
    limiter = ConcurrencyLimiter(max_streams=1, max_calls_per_client=9, max_streams_per_client=9)
    with limiter.acquire("a", stream=True):
        with (
            pytest.raises(RequestRejected, match="too many open streams: 1") as rejected,
            limiter.acquire("b", stream=True),
        ):
            pass
        assert rejected.value.reason == "TOO_MANY_STREAMS"
        with limiter.acquire("b", stream=False):
            pass
    with limiter.acquire("b", stream=True):
        pass


def test_failed_call_is_no_longer_counted() -> None:
    limiter = ConcurrencyLimiter(max_streams=1, max_calls_per_client=1, max_streams_per_client=1)
    with pytest.raises(LookupError), limiter.acquire("a", stream=True):
        raise LookupError
    with limiter.acquire("a", stream=True):
        pass

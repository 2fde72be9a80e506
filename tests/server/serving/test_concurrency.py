"""Admission: how many calls are open at a time, of each client and of all."""

import pytest

from planespotter_server.rejections import RequestRejected
from planespotter_server.serving.concurrency import Admission, client_of


def test_a_client_with_too_many_calls_is_refused_and_others_are_not() -> None:
    admission = Admission(max_streams=9, max_concurrent_calls_per_client=2)
    with admission.admit("a", stream=False), admission.admit("a", stream=True):
        with (
            pytest.raises(RequestRejected, match="2 calls open; the limit is 2") as refused,
            admission.admit("a", stream=False),
        ):
            pass
        assert refused.value.reason == "TOO_MANY_CALLS"
        assert refused.value.metadata == {"calls": "2", "limit": "2"}
        assert refused.value.retry_after is not None
        with admission.admit("b", stream=False):
            pass
    with admission.admit("a", stream=False):
        pass


def test_too_many_streams_are_refused_and_single_calls_are_not() -> None:
    admission = Admission(max_streams=1, max_concurrent_calls_per_client=9)
    with admission.admit("a", stream=True):
        with pytest.raises(RequestRejected, match="1 streams open") as refused, admission.admit("b", stream=True):
            pass
        assert refused.value.reason == "TOO_MANY_STREAMS"
        with admission.admit("b", stream=False):
            pass
    with admission.admit("b", stream=True):
        pass


def test_a_call_that_fails_is_counted_no_longer() -> None:
    admission = Admission(max_streams=1, max_concurrent_calls_per_client=1)
    with pytest.raises(LookupError), admission.admit("a", stream=True):
        raise LookupError
    with admission.admit("a", stream=True):
        pass


@pytest.mark.parametrize(
    ("peer", "client"),
    [
        ("ipv4:10.0.0.7:51234", "ipv4:10.0.0.7"),
        ("ipv6:%5B::1%5D:51234", "ipv6:%5B::1%5D"),
        ("unix:/run/planes.sock", "unix:/run/planes.sock"),
    ],
)
def test_connections_of_one_address_are_one_client(peer: str, client: str) -> None:
    assert client_of(peer) == client

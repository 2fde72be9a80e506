"""Retry policies and load balancing, without a server and without a clock."""

from collections import Counter

import pytest

from planespotter_client import (
    CertificateError,
    DeadlineExceededError,
    InvalidRequestError,
    OverloadedError,
    PlaneSpotterError,
    ProtocolError,
    UnavailableError,
)
from planespotter_client._addresses import is_single_server, parse_addresses
from planespotter_client._channels import RoundRobin, Server
from planespotter_client._retry import CallRetries, StreamReconnect

BUSY = OverloadedError("full", retry_after=2.0)
GONE = UnavailableError("gone")


def pauses(attempts: CallRetries, error: PlaneSpotterError) -> list[float]:
    """Return the pauses between attempts that all fail with `error`."""
    return list(iter(lambda: attempts.pause(error, 0.0), None))


def test_overloaded_call_is_retried_after_the_delay_plus_up_to_half_jitter() -> None:
    waited = pauses(CallRetries(servers=1, retries=3, end=60), BUSY)
    assert len(waited) == 3
    assert all(2 <= pause <= 3 for pause in waited)
    assert pauses(CallRetries(servers=1, retries=0, end=60), BUSY) == []
    assert pauses(CallRetries(servers=1, retries=3, end=1.9), BUSY) == [], "not beyond the deadline"


def test_call_fails_over_to_another_server_at_once() -> None:
    waited = pauses(CallRetries(servers=3, retries=1, end=60), BUSY)
    assert [pause == 0 for pause in waited] == [True, True, False, True, True]
    waited = pauses(CallRetries(servers=2, retries=2, end=60), GONE)
    assert [pause == 0 for pause in waited] == [True, False, True, False, True]
    assert waited[1] < waited[3] < 1


@pytest.mark.parametrize(
    "error",
    [
        InvalidRequestError("bad"),
        DeadlineExceededError("late"),
        ProtocolError("other"),
        CertificateError("other"),
        OverloadedError("too large"),
    ],
)
def test_permanent_errors_are_not_retried(error: PlaneSpotterError) -> None:
    assert pauses(CallRetries(servers=3, retries=3, end=60), error) == []


def test_single_unavailable_server_is_retried_by_grpc_alone() -> None:
    assert pauses(CallRetries(servers=1, retries=3, end=60), GONE) == []


def test_stream_reconnects_until_the_timeout_without_a_result() -> None:
    reconnect = StreamReconnect(timeout=10.0, retry_overloaded=True)
    for now in (100.0, 105.0, 109.9):
        reconnect.handle_end(now, GONE)
        assert now < reconnect.opens_at <= now + 2
    reconnect.reset()
    reconnect.handle_end(120.0, GONE)
    with pytest.raises(UnavailableError, match="late"):
        reconnect.handle_end(130.0, DeadlineExceededError("late"))


def test_idle_stream_has_no_timeout() -> None:
    reconnect = StreamReconnect(timeout=10.0, retry_overloaded=True)
    reconnect.handle_end(100.0, GONE)
    reconnect.idle()
    reconnect.handle_end(1000.0, GONE)
    assert reconnect.reconnecting, "the server is probed before photos are sent"


def test_stream_reconnects_after_the_retry_delay() -> None:
    reconnect = StreamReconnect(timeout=10.0, retry_overloaded=True)
    reconnect.handle_end(100.0, BUSY)
    assert 102 <= reconnect.opens_at <= 103
    with pytest.raises(OverloadedError):
        StreamReconnect(timeout=10.0, retry_overloaded=False).handle_end(100.0, BUSY)
    with pytest.raises(ProtocolError):
        reconnect.handle_end(100.0, ProtocolError("other"))


def test_balancertake_turns_but_for_those_that_rest() -> None:
    servers = [Server(name, None, None) for name in "abc"]
    balancer = RoundRobin(servers)
    assert "".join(balancer.pick(0.0).address for _ in range(6)) in ("abcabc", "bcabca", "cabcab")
    balancer.mark_failed(servers[1], 0.0)
    assert "b" not in {balancer.pick(0.5).address for _ in range(9)}
    assert {balancer.pick(1.5).address for _ in range(9)} == {"a", "b", "c"}
    for server in servers:
        balancer.mark_failed(server, 2.0)
    assert balancer.pick(2.1) in servers, "if all are cooling down, one is picked anyway"


def test_clients_with_one_stream_each_use_all_servers() -> None:
    servers = [Server(name, None, None) for name in "abc"]
    picked = Counter(RoundRobin(servers).pick(0.0).address for _ in range(300))
    assert set(picked) == set("abc")
    assert min(picked.values()) > 50


def test_streams_that_were_drained_spread_evenly_over_the_servers_that_respond() -> None:
    servers = [Server(name, None, None) for name in "abcd"]
    balancer = RoundRobin(servers)
    balancer.mark_failed(servers[3], 0.0)
    picked = Counter(balancer.pick_any(0.5).address for _ in range(300))
    assert set(picked) == set("abc")
    assert min(picked.values()) > 50


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("a:1", ("a:1",)),
        ("a:1, b:2", ("a:1", "b:2")),
        (["a:1", "unix:/run/a,b"], ("a:1", "unix:/run/a,b")),
        ("[::1]:1,dns:///planes.example:2", ("[::1]:1", "dns:///planes.example:2")),
        ("ipv4:127.0.0.1:1,127.0.0.1:2", ("ipv4:127.0.0.1:1,127.0.0.1:2",)),
    ],
)
def test_addresses_are_parsed(address: str | list[str], expected: tuple[str, ...]) -> None:
    assert parse_addresses(address) == expected


def test_name_may_have_several_backends() -> None:
    single = ("127.0.0.1:1", "[::1]:1", "localhost:1", "unix:/run/a")
    several = ("planes.example:1", "dns:///a:1", "ipv4:1.2.3.4:1,1.2.3.5:1")
    assert all(is_single_server(address) for address in single)
    assert not any(is_single_server(address) for address in several)

"""When something that failed is tried again: the rules, without a server and without a clock."""

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
from planespotter_client._channels import Rotation, Server, addresses, is_one_server
from planespotter_client._retry import Attempts, Reopening

BUSY = OverloadedError("full", retry_after=2.0)
GONE = UnavailableError("gone")


def pauses(attempts: Attempts, error: PlaneSpotterError) -> list[float]:
    """The waits between attempts that all fail with `error`, with time standing still."""
    return list(iter(lambda: attempts.pause(error, 0.0), None))


def test_a_busy_server_is_asked_again_after_as_long_as_it_says_and_up_to_half_as_much_more() -> None:
    waited = pauses(Attempts(servers=1, retries=3, end=60), BUSY)
    assert len(waited) == 3
    assert all(2 <= pause <= 3 for pause in waited)
    assert pauses(Attempts(servers=1, retries=0, end=60), BUSY) == []
    assert pauses(Attempts(servers=1, retries=3, end=1.9), BUSY) == [], "not beyond the deadline"


def test_another_server_is_asked_at_once() -> None:
    waited = pauses(Attempts(servers=3, retries=1, end=60), BUSY)
    assert [pause == 0 for pause in waited] == [True, True, False, True, True]
    waited = pauses(Attempts(servers=2, retries=2, end=60), GONE)
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
def test_what_another_attempt_would_not_help_is_not_tried_again(error: PlaneSpotterError) -> None:
    assert pauses(Attempts(servers=3, retries=3, end=60), error) == []


def test_a_single_server_that_does_not_answer_is_left_to_grpc() -> None:
    assert pauses(Attempts(servers=1, retries=3, end=60), GONE) == []


def test_a_stream_is_opened_again_until_no_answer_has_come_for_too_long() -> None:
    reopening = Reopening(patience=10.0, busy_too=True)
    for now in (100.0, 105.0, 109.9):
        reopening.ended(now, GONE)
        assert now < reopening.opens_at <= now + 2
    reopening.answered()
    reopening.ended(120.0, GONE)
    with pytest.raises(UnavailableError, match="late"):
        reopening.ended(130.0, DeadlineExceededError("late"))


def test_a_stream_without_photos_to_answer_is_never_late() -> None:
    reopening = Reopening(patience=10.0, busy_too=True)
    reopening.ended(100.0, GONE)
    reopening.idle()
    reopening.ended(1000.0, GONE)
    assert reopening.again, "before photos are sent, the server is asked a smaller question"


def test_a_stream_comes_back_to_a_busy_server_when_it_says() -> None:
    reopening = Reopening(patience=10.0, busy_too=True)
    reopening.ended(100.0, BUSY)
    assert 102 <= reopening.opens_at <= 103
    with pytest.raises(OverloadedError):
        Reopening(patience=10.0, busy_too=False).ended(100.0, BUSY)
    with pytest.raises(ProtocolError):
        reopening.ended(100.0, ProtocolError("other"))


def test_servers_take_turns_but_for_those_that_rest() -> None:
    servers = [Server(name, None, None) for name in "abc"]
    rotation = Rotation(servers)
    assert "".join(rotation.next(0.0).address for _ in range(6)) == "abcabc"
    rotation.failed(servers[1], 0.0)
    assert "b" not in {rotation.next(0.5).address for _ in range(9)}
    assert {rotation.next(1.5).address for _ in range(9)} == {"a", "b", "c"}
    for server in servers:
        rotation.failed(server, 2.0)
    assert rotation.next(2.1) in servers, "if all rest, one is asked all the same"


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("a:1", ("a:1",)),
        ("a:1, b:2", ("a:1", "b:2")),
        (["a:1", "unix:/run/a,b"], ("a:1", "unix:/run/a,b")),
        ("[::1]:1,dns:///planes.example:2", ("[::1]:1", "dns:///planes.example:2")),
        ("ipv4:127.0.0.1:1,127.0.0.1:2", ("ipv4:127.0.0.1:1,127.0.0.1:2",)),
    ],
)
def test_addresses_are_one_or_many(given: str | list[str], found: tuple[str, ...]) -> None:
    assert addresses(given) == found


def test_a_name_may_stand_for_several_servers() -> None:
    assert [is_one_server(address) for address in ("127.0.0.1:1", "[::1]:1", "localhost:1", "unix:/run/a")] == [
        True
    ] * 4
    assert not any(is_one_server(address) for address in ("planes.example:1", "dns:///a:1", "ipv4:1.2.3.4:1,1.2.3.5:1"))

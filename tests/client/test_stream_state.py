"""The stream state: exactly one result per photo, for any behavior of the servers."""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import fields

from google.rpc import code_pb2
from google.rpc.error_details_pb2 import RetryInfo
from hypothesis import given
from hypothesis import strategies as st
from tests.client.fake_servers import PREDICTION

from planespotter.v1 import classifier_pb2 as pb
from planespotter_client import (
    Limits,
    PhotoResult,
    UnavailableError,
)
from planespotter_client._stream_state import Pending, StreamState

Paint = Callable[..., bytes]


# Connections that a server drains: photos that are added, photos that it accepts, the order of its results, and the
# position of its drain notice among them.
DRAINS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 8), st.randoms(), st.integers(0, 8)), max_size=6)


def limits(per_message: int) -> Limits:
    """Return the limits of a server that takes `per_message` photos in a message."""
    names = (limit.name for limit in fields(Limits))
    return Limits(**dict.fromkeys(names, 10**6) | {"max_photos_per_message": per_message})


def ids(request: pb.StreamClassifyRequest) -> list[str]:
    """Return the ids of the photos in a message."""
    photos = request.photos.photos if request.HasField("photos") else [request.photo]
    return [photo.id for photo in photos]


def send(state: StreamState, messages: int) -> list[str]:
    """Send at most `messages` messages; return the ids of their photos."""
    return [photo_id for _ in range(messages) if state.can_send(0.0) for photo_id in ids(state.next_request())]


def add_photos(state: StreamState, start: int, end: int, total: int) -> int:
    """Add the photos from `start` to `end` of `total`, and return `end`."""
    for index in range(start, end):
        state.add(Pending(index, "", b""), b"")
    state.source_exhausted = end == total
    return end


@given(photos=st.integers(0, 20), drains=DRAINS, per_message=st.integers(0, 4))
def test_one_result_per_photo_over_any_number_of_drains(
    photos: int, drains: list[tuple[int, int, random.Random, int]], per_message: int
) -> None:
    state = StreamState("somewhere", limits=limits(per_message))
    added = 0
    answered: list[int] = []

    def add(count: int) -> None:
        nonlocal added
        added = add_photos(state, added, min(added + count, photos), photos)

    def answer(photo_id: str) -> None:
        [result] = state.handle_response(
            pb.StreamClassifyResponse(result=pb.PhotoResult(id=photo_id, prediction=PREDICTION)), 0.0
        )
        answered.append(result.index)

    for new, accepted_count, chance, notice_position in drains:
        add(new)
        sent = send(state, accepted_count + 2)
        read = sent[:accepted_count]
        notice = pb.StreamClassifyResponse(drain_notice=pb.DrainNotice(accepted_count=len(read)))
        for position, photo_id in enumerate(chance.sample(read, len(read))):
            if position == notice_position:
                assert not state.handle_response(notice, 0.0)
                assert not state.can_send(0.0), "nothing is sent to a draining server"
            answer(photo_id)
        if notice_position >= len(read):
            state.handle_response(notice, 0.0)
        state.handle_end()
        if state.done:
            break
    else:
        add(photos)
        for photo_id in send(state, photos):
            answer(photo_id)
        assert state.all_sent
        state.handle_end()
        assert state.done
    assert sorted(answered) == list(range(photos))


# Connections that fail: photos that are added, photos that are sent, the positions of those that are answered, and
# whether the answer asks to retry later.
FAILURES = st.tuples(st.integers(0, 5), st.integers(0, 8), st.sets(st.integers(0, 8)), st.booleans())


@given(photos=st.integers(0, 20), failures=st.lists(FAILURES, max_size=9), per_message=st.integers(0, 4))
def test_one_result_per_photo_over_any_number_of_failures(
    photos: int, failures: list[tuple[int, int, set[int], bool]], per_message: int
) -> None:
    state = StreamState("somewhere", 2, limits(per_message))
    lost = UnavailableError("gone", reason="CONNECTION_LOST")
    added = 0
    answered: list[int] = []
    poison: list[PhotoResult] = []
    firsts: Counter[str] = Counter()  # failed connections by their first photo

    def add(count: int) -> None:
        nonlocal added
        added = add_photos(state, added, min(added + count, photos), photos)

    def answer(photo_id: str, later: bool = False) -> None:
        response = pb.StreamClassifyResponse(result=pb.PhotoResult(id=photo_id, prediction=PREDICTION))
        if later:
            response.result.error.code = code_pb2.RESOURCE_EXHAUSTED
            response.result.error.details.add().Pack(RetryInfo())
        answered.extend(result.index for result in state.handle_response(response, 0.0))

    for new, to_send, to_answer, later in failures:
        add(new)
        sent = send(state, to_send)
        for position, photo_id in enumerate(sent):
            if position in to_answer:
                answer(photo_id, later)
        firsts.update(sent[:1])
        poison += state.handle_failure(lost)
    add(photos)
    while state.can_send(1.0):
        for photo_id in ids(state.next_request()):
            answer(photo_id)
    assert state.done
    assert sorted([*answered, *(result.index for result in poison)]) == list(range(photos))
    assert len(poison) <= max(0, len(failures) - 2)
    assert all(firsts[str(result.index)] for result in poison), "only a photo that was sent alone is poison"


def test_photos_that_wait_share_a_message_within_its_limits() -> None:
    state = StreamState("somewhere", limits=limits(3))
    for index, size in enumerate([10, 10, 10, 10, 999_000, 10]):
        state.add(Pending(index, "", b""), bytes(size))
    assert [ids(state.next_request()) for _ in range(4)] == [["0", "1", "2"], ["3"], ["4"], ["5"]]


def test_results_in_one_message_are_returned_together() -> None:
    state = StreamState("somewhere", limits=limits(2))
    add_photos(state, 0, 2, 2)
    state.next_request()
    listed = [pb.PhotoResult(id=photo_id, prediction=PREDICTION) for photo_id in ("1", "0")]
    response = pb.StreamClassifyResponse(results=pb.PhotoResultList(results=listed))
    assert [result.index for result in state.handle_response(response, 0.0)] == [1, 0]
    assert state.done

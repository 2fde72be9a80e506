"""The reconnecting stream: each photo has exactly one result, however often the server is lost."""

from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.client.classify.results import prediction

from planespotter_client import PhotoResult, PlaneSpotterError, UnavailableError
from planespotter_client.classify.reconnecting_stream import reconnecting_stream


class FlakyServer:
    """A client whose server is lost after each of `result_counts` results, then stays up."""

    def __init__(self, result_counts: list[int]) -> None:
        self.result_counts = result_counts
        self.waits = 0

    def stream(self, photos: Iterator[Any], **options: Any) -> Iterator[PhotoResult]:
        left = self.result_counts.pop(0) if self.result_counts else 10**9
        in_flight = [(index, photo) for index, photo in zip(range(3), photos, strict=False)]
        index = len(in_flight)
        while in_flight:
            if not left:
                raise UnavailableError("The server is lost.")
            left -= 1
            number, photo = in_flight.pop(left % len(in_flight))  # in any order
            yield PhotoResult(number, photo, photo, prediction=prediction())
            for photo in photos:
                in_flight.append((index, photo))
                index += 1
                break

    def wait_until_ready(self) -> None:
        self.waits += 1
        if self.waits % 2:
            raise UnavailableError("Not yet.")


@given(st.integers(0, 30), st.lists(st.integers(0, 9), max_size=6))
def test_each_photo_has_one_result_however_often_the_server_is_lost(count: int, result_counts: list[int]) -> None:
    photos = [f"{number}.jpg" for number in range(count)]
    errors: list[PlaneSpotterError] = []
    server: Any = FlakyServer(list(result_counts))
    answered = [result.photo_id for result in reconnecting_stream(server, iter(photos), errors.append)]
    assert sorted(answered) == sorted(photos)
    assert server.waits >= len(errors)

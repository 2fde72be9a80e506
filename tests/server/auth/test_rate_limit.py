"""Rate limit: a token bucket."""

from planespotter_server.auth.rate_limit import TokenBucket


def test_bucket_allows_one_second_at_once_and_then_the_rate() -> None:
    now = 0.0
    bucket = TokenBucket(4, clock=lambda: now)
    for _ in range(4):
        assert bucket.delay() == 0
        bucket.take()
    assert bucket.delay() == 0.25
    bucket.take()  # a stream takes a photo that it has already read
    assert bucket.delay() == 0.5
    now = 0.5
    assert bucket.delay() == 0
    now = 100
    for _ in range(4):
        assert bucket.delay() == 0
        bucket.take()
    assert bucket.delay() == 0.25, "the bucket holds at most one second"

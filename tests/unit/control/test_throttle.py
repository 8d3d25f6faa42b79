"""The bucket: a hundred requests a second, each client for itself."""

from __future__ import annotations

from stratovirt.control.qmp.throttle import Bucket


def taken(bucket: Bucket, requests: int, now: float) -> int:
    return sum(bucket.take(now) for _ in range(requests))


def test_a_burst_is_cut_at_a_hundred_and_one() -> None:
    assert taken(Bucket(), 500, now=7.0) == 101


def test_a_second_later_there_is_room_for_a_hundred_again() -> None:
    bucket = Bucket()
    taken(bucket, 500, now=7.0)

    assert taken(bucket, 500, now=8.0) == 100


def test_a_steady_hundred_each_second_is_never_refused() -> None:
    bucket = Bucket()

    assert all(bucket.take(5.0 + i / 100) for i in range(1000))


def test_refused_requests_do_not_prolong_the_wait() -> None:
    bucket = Bucket()
    taken(bucket, 100_000, now=7.0)

    assert bucket.take(7.02)


def test_a_long_silence_earns_no_more_than_one_burst() -> None:
    bucket = Bucket()
    taken(bucket, 50, now=1.0)

    assert taken(bucket, 500, now=9999.0) == 101

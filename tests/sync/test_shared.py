"""What runs of one process share: made once, bounded, and never a failure."""

import threading
import time

import pytest

from syncsvc.sync.shared import Shared


def test_what_many_ask_for_at_once_is_made_once() -> None:
    shared: Shared[int] = Shared(room=10)
    made: list[int] = []

    def make() -> int:
        time.sleep(0.05)
        made.append(1)
        return 7

    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(shared.get("key", make))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (found, made) == ([7] * 8, [1])


def test_the_least_recently_used_give_way_to_what_costs_more_than_there_is_room() -> None:
    shared: Shared[bytes] = Shared(room=10, cost=len)
    for key in ("a", "b"):
        shared.get(key, lambda: b"1234")
    shared.get("a", lambda: b"not made")
    shared.get("c", lambda: b"1234")

    assert shared.get("a", lambda: b"made anew") == b"1234"
    assert shared.get("b", lambda: b"anew") == b"anew"


def test_one_that_is_larger_than_the_room_is_given_and_does_not_stay_with_others() -> None:
    shared: Shared[bytes] = Shared(room=10, cost=len)
    shared.get("small", lambda: b"1")
    assert shared.get("big", lambda: b"x" * 100) == b"x" * 100
    assert shared.get("small", lambda: b"2") == b"2"


def test_a_failure_is_not_kept() -> None:
    shared: Shared[int] = Shared(room=10)
    with pytest.raises(ZeroDivisionError):
        shared.get("key", lambda: 1 // 0)
    assert shared.get("key", lambda: 3) == 3


def test_what_is_no_longer_good_is_made_anew_and_replaces_it() -> None:
    shared: Shared[int] = Shared(room=10)
    shared.get("key", lambda: 1)
    assert shared.get("key", lambda: 2, good=lambda value: value > 1) == 2
    assert shared.get("key", lambda: 3) == 2


def test_who_waits_for_anothers_value_can_be_called_off() -> None:
    shared: Shared[int] = Shared(room=10)
    making, go = threading.Event(), threading.Event()

    def make() -> int:
        making.set()
        go.wait()
        return 1

    maker = threading.Thread(target=lambda: shared.get("key", make))
    maker.start()
    making.wait()
    with pytest.raises(ZeroDivisionError):
        shared.get("key", lambda: 2, interrupt=lambda: 1 // 0)  # type: ignore[arg-type,return-value]
    go.set()
    maker.join()

    assert shared.get("key", lambda: 3) == 1

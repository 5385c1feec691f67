"""A limit of requests a second: kept by all workers together while Redis is there, by each for itself while not."""

import threading
import time
import uuid

import pytest
from django.conf import settings as configured
from pytest_django import Settings
from redis import Redis

from syncsvc.models import App
from syncsvc.sync.rate import AWAY_SECONDS, BATCHES_A_SECOND, BUCKET_BATCHES, KEPT_SECONDS, Rate
from tests.sync.world import World, contents

NOWHERE = "redis://127.0.0.1:1/0"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def name() -> str:
    """An app's that no other test has used."""
    return str(uuid.uuid4())


def batch(limit: int) -> int:
    return max(1, limit // BATCHES_A_SECOND)


# Alone


@pytest.mark.parametrize("late", [0.0, 0.004, 0.02])
@pytest.mark.parametrize("limit", [10, 33, 100, 1000, 20_000])
def test_a_process_alone_gets_what_was_agreed_within_a_twentieth(
    settings: Settings, limit: int, late: float, name: str
) -> None:
    """Over ten seconds, though it comes for its permits a little late each time."""
    settings.REDIS_URL = NOWHERE
    clock = Clock()
    rate = Rate(clock)
    granted, end = 0, clock.now + 10
    while clock.now < end:
        wait = rate.take(name, limit)
        granted += not wait
        clock.now += wait + late if wait else 0.0

    assert 0.95 * 10 * limit <= granted <= 1.05 * 10 * limit


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_low_limits_hold_too(settings: Settings, limit: int, name: str) -> None:
    settings.REDIS_URL = NOWHERE
    clock = Clock()
    rate = Rate(clock)
    granted, end = 0, clock.now + 60
    while clock.now < end:
        wait = rate.take(name, limit)
        granted += not wait
        clock.now += wait

    assert 60 * limit <= granted <= 60 * limit + BUCKET_BATCHES


def test_a_pause_earns_no_burst(settings: Settings, name: str) -> None:
    settings.REDIS_URL = NOWHERE
    clock = Clock()
    rate = Rate(clock)
    assert rate.take(name, 100) == 0
    clock.now += 3600
    burst = 0
    while not rate.take(name, 100):
        burst += 1

    assert burst == BUCKET_BATCHES * batch(100)


def test_permits_that_were_not_used_in_time_are_worth_nothing(settings: Settings, name: str) -> None:
    settings.REDIS_URL = NOWHERE
    clock = Clock()
    rate = Rate(clock)
    while not rate.take(name, 100):
        pass
    clock.now += 1 / BATCHES_A_SECOND
    assert rate.take(name, 100) == 0  # and has four more
    clock.now += KEPT_SECONDS * 1.01
    granted = 0
    while not rate.take(name, 100):
        granted += 1

    assert granted == BUCKET_BATCHES * batch(100)


def test_apps_do_not_share_a_limit(settings: Settings) -> None:
    settings.REDIS_URL = NOWHERE
    rate = Rate(Clock())
    assert [rate.take(app, 1) for app in "abc"] == [0, 0, 0]


# Together


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("limit", [10, 200])
def test_workers_together_never_get_more_than_was_agreed(workers: int, limit: int, name: str) -> None:
    """Reckoned by Redis's own clock, from before the first permit to after the last."""
    redis = Redis.from_url(configured.REDIS_URL)
    began = _now(redis)
    counts = [0] * workers
    wanted = max(8, limit // 4)

    def work(number: int) -> None:
        rate = Rate()
        while sum(counts) < wanted:
            if wait := rate.take(name, limit):
                time.sleep(wait)
            else:
                counts[number] += 1

    threads = [threading.Thread(target=work, args=[number]) for number in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    seconds = _now(redis) - began
    assert sum(counts) >= wanted
    assert sum(counts) <= seconds * limit + BUCKET_BATCHES * batch(limit) + 1
    redis.close()


def _now(redis: "Redis") -> float:
    seconds, micros = redis.time()  # type: ignore[misc]
    return float(seconds + micros / 1e6)


def test_redis_is_asked_once_a_batch_and_not_while_it_says_to_wait(name: str) -> None:
    redis = Redis.from_url(configured.REDIS_URL)
    clock = Clock()
    rate = Rate(clock)
    before = _calls(redis)
    granted = 0
    while not rate.take(name, 1000):
        granted += 1
    for _ in range(100):
        assert rate.take(name, 1000) > 0
    asked = _calls(redis) - before

    assert granted in {100, 150}, "the bucket, and a batch where that took a moment"
    assert asked == granted / 50 + 1
    redis.close()


def _calls(redis: "Redis") -> int:
    statistics = redis.info("commandstats")
    assert isinstance(statistics, dict)
    return int(statistics.get("cmdstat_eval", {"calls": 0})["calls"])


def test_without_redis_each_process_keeps_to_the_limit_by_itself_and_asks_seldom(settings: Settings, name: str) -> None:
    url, settings.REDIS_URL = settings.REDIS_URL, NOWHERE
    clock = Clock()
    rates = [Rate(clock) for _ in range(3)]
    for rate in rates:
        granted = 0
        while not rate.take(name, 100):
            granted += 1
        assert granted == BUCKET_BATCHES * batch(100)
    settings.REDIS_URL = url
    clock.now += 1
    rates[0].take(name, 100)
    assert not Redis.from_url(url).exists(f"rate:{name}")

    clock.now += AWAY_SECONDS
    rates[0].take(name, 100)

    assert Redis.from_url(url).exists(f"rate:{name}")


# In a run


def test_each_request_of_a_run_takes_a_permit(world: World) -> None:
    redis = Redis.from_url(configured.REDIS_URL)
    before = _calls(redis)
    App.objects.update(max_per_second=400)
    world.repo.commit({f"{n:03}": b"%d" % n for n in range(120)})

    run = world.run()

    assert (run.outcome, run.delivered) == ("synced", 120)
    assert world.client().files == contents(world.repo)
    assert _calls(redis) - before >= 120 // batch(400)
    redis.close()

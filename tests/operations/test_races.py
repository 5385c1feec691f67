"""Everything at once: no deadlock, no error, and every look adds up."""

import itertools
import os
import time
from collections import Counter
from datetime import timedelta
from functools import partial
from random import Random
from typing import Any

import pytest
from django.db import IntegrityError, OperationalError, connection
from django.utils import timezone

from syncsvc.error_kinds import OUTAGE_KINDS
from syncsvc.exceptions import Refused
from syncsvc.models import App, Operation, Repository, Status, Subscription, SyncRun, Trigger
from syncsvc.operations import bulk, control, single
from syncsvc.operations.apps import save_app
from syncsvc.operations.release import sweep_operations
from syncsvc.operations.repositories import save_repository
from syncsvc.store import circuits, throttles
from syncsvc.store.leases import renew_leases
from syncsvc.sync.asking import ask_for_runs
from syncsvc.sync.lease import LeaseLostError
from syncsvc.sync.scheduler import end_expired_leases, wake_due_subscriptions
from tests.operations.fleet import (
    ASKER,
    FAILED,
    HANDED_BACK,
    POSTPONED,
    RESYNC,
    RETRY,
    STOPPED,
    SYNCED,
    adds_up,
    claim,
    end,
    fleet,
    in_threads,
    is_throttled,
    meets_open_circuit,
    probe_fails,
    sampling,
)

SECONDS = float(os.environ.get("RACE_SECONDS", "5"))

pytestmark = pytest.mark.django_db(transaction=True)


def test_nothing_waits_for_each_other_and_every_look_adds_up() -> None:
    ids = [s.id for s in fleet(apps=4, each=10)]
    repositories = list(Repository.objects.values_list("id", flat=True))
    apps = list(App.objects.values_list("id", flat=True))
    until = time.monotonic() + SECONDS
    done: Counter[str] = Counter()
    errors: list[Exception] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        try:
            return execute(sql, params, many, context)
        except (OperationalError, IntegrityError) as error:  # a run would try again, and nobody hear of it
            errors.append(error)
            raise

    def work(random: Random) -> None:
        job = claim(random.choice(ids))
        if job is None:
            return
        done["claims"] += 1
        if random.random() < 0.1:
            Subscription.objects.filter(id=job.subscription.id).update(lease_expires_at="2020-01-01T00:00:00Z")
            time.sleep(random.random() / 10)
        met = [meets_open_circuit, is_throttled, partial(is_throttled, silent=9e9), probe_fails]
        of_job = random.choice(met)(job) if random.random() < 0.4 else None
        try:
            end(job, of_job or random.choice([SYNCED, FAILED, POSTPONED, HANDED_BACK, STOPPED]))
        except LeaseLostError:
            done["fenced"] += 1

    def operate(random: Random) -> None:
        operation = bulk.start(random.choice([RETRY, RESYNC]), ASKER, max_running=random.choice([4, 50]))
        done["operations"] += 1
        time.sleep(random.random() / 5)
        for call in random.sample([control.pause, control.resume, control.cancel], 3):
            call(operation.id, ASKER)

    def ask(random: Random) -> None:
        mine = Subscription.objects.filter(repository=random.choice(repositories))
        ends = [mine.fetch_ended, mine.wake_ups_are_lost, partial(mine.outage_ended, OUTAGE_KINDS)]
        if random.random() < 0.5:
            ask_for_runs(Subscription.objects.all() if random.random() < 0.3 else mine, Trigger.PUSH)
        else:
            random.choice(ends)()
        call = random.choice([single.retry, single.resync])
        call(random.choice(ids), ASKER)

    def answer(random: Random) -> None:
        """As endpoints do to the runs of their apps."""
        app = random.choice(apps)
        url = App.objects.values_list("url", flat=True).get(id=app)
        for _ in range(random.choice([1, 5])):
            circuits.note_failure(app, str(random.random())[:16], url=url, threshold=5)
        circuits.open_circuit(app, url=url, threshold=5, cooldown=0.05)
        if circuits.take_probe(app, early=False, seconds=0.1):
            circuits.probe_failed(app, cooldown=0.05)
        throttles.throttle(app, url=url, asked=random.choice([None, 0.05]), first=0.01, most=0.1)
        if throttles.go_first(app, early=False, seconds=0.1):
            throttles.give_way(app)
        time.sleep(random.random() / 10)
        circuits.endpoint_answered(app)
        throttles.end_throttle(app, sent_at=timezone.now())

    def change(random: Random) -> None:
        """As operators do: another URL of an app, another credential of a repository."""
        app = App.objects.get(id=random.choice(apps))
        app.url = f"https://{random.random()}.example.com/"
        save_app(app, ASKER, changed={"url"})
        repository = Repository.objects.get(id=random.choice(repositories))
        repository.username = str(random.random())
        save_repository(repository, ASKER, changed={"username"})
        time.sleep(random.random() / 10)

    def sweep(random: Random) -> None:
        end_expired_leases()
        wake_due_subscriptions()
        sweep_operations()
        tokens = Subscription.objects.filter(status=Status.SYNCING).values_list("lease_token", flat=True)
        renew_leases([token for token in tokens if token])

    actors = [work] * 6 + [operate] * 2 + [ask] * 2 + [sweep] * 2 + [answer] * 2 + [change] * 2

    def act(number: int) -> None:
        random = Random(number)
        with connection.execute_wrapper(note):
            while time.monotonic() < until and not errors:
                try:
                    actors[number](random)
                    done[actors[number].__name__] += 1
                except Refused:
                    done["refused"] += 1

    with sampling() as looks:
        in_threads(act, len(actors))

    print(done, len(looks), "looks")
    assert errors == []
    assert done["claims"] > 10
    assert done["operations"] > 2
    assert len(looks) > 20
    _everything_ends(ids)


def _everything_ends(ids: list[object]) -> None:
    """What is left in flight is finished by ordinary workers and sweeps; no item stays behind."""
    Subscription.objects.filter(status=Status.SYNCING).update(lease_expires_at="2020-01-01T00:00:00Z")
    for id in Operation.objects.filter(status="paused").values_list("id", flat=True):
        control.resume(id, ASKER)
    for app in App.objects.all():
        circuits.endpoint_answered(app.id)
        throttles.end_throttle(app.id, sent_at=timezone.now() + timedelta(days=1))
    for _ in itertools.takewhile(lambda _: Operation.objects.open().exists(), range(60)):
        end_expired_leases()
        Subscription.objects.update(queued_at=None)
        sweep_operations()
        for subscription in Subscription.objects.released():
            job = claim(subscription.id)
            assert job is not None
            end(job, SYNCED)
    assert adds_up()
    assert not Operation.objects.open().exists()
    assert not SyncRun.objects.filter(outcome="").exclude(subscription__status=Status.SYNCING).exists()

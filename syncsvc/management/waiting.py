"""Waiting for the runs that somebody asked for."""

import time
from collections.abc import Iterable
from datetime import datetime
from itertools import groupby
from operator import attrgetter

from django.db.models import Q

from syncsvc.models import Status, Subscription, SyncRun, Trigger

# Seconds between the first two looks, and at most; each pause is half as long again as the one before.
FIRST_PAUSE, LAST_PAUSE, LONGER = 0.05, 1.0, 1.5


class Pauses:
    """The pauses between looks at work that goes on: short ones first, for work that ends at once."""

    def __init__(self) -> None:
        self._seconds = FIRST_PAUSE

    def sleep(self) -> None:
        time.sleep(self._seconds)
        self._seconds = min(self._seconds * LONGER, LAST_PAUSE)


class Waiting:
    """The subscriptions whose runs, asked for after `since`, have not ended yet."""

    def __init__(self, subscriptions: Iterable[Subscription], *, since: datetime) -> None:
        self.ids = {subscription.id for subscription in subscriptions}
        self._since = since

    def ended(self) -> list[SyncRun]:
        """Each run that has ended since the last call; its subscription, app and repository come with it.

        A run counts that started after asking and ended by itself. One whose claim was on its way while we asked bears
        an earlier time: it counts where it is the last before its subscription came to rest.
        """
        rest = Q(subscription__status__in=[Status.SYNCED, Status.FAILED])
        rest |= Q(subscription__status=Status.PENDING, subscription__trigger=Trigger.BACK_OFF)
        counts = Q(started_at__gte=self._since) | (rest & Q(finished_at__gte=self._since))
        candidates = (
            SyncRun.objects.filter(counts, subscription__in=self.ids)
            .exclude(outcome__in=["", SyncRun.Outcome.INTERRUPTED])
            .select_related("subscription__app", "subscription__repository")
            .order_by("subscription_id", "started_at")
        )
        runs = [self._choose(list(group)) for _, group in groupby(candidates, attrgetter("subscription_id"))]
        self.ids -= {run.subscription_id for run in runs}
        return runs

    def given_up(self) -> list[Subscription]:
        """Subscriptions that will not run, because they were paused meanwhile; a deleted one is forgotten."""
        there = Subscription.objects.filter(id__in=self.ids).select_related("app", "repository")
        found = list(there)
        paused = [s for s in found if s.paused and s.status != Status.SYNCING]
        self.ids = {s.id for s in found} - {s.id for s in paused}
        return paused

    def still(self) -> list[Subscription]:
        return list(Subscription.objects.filter(id__in=self.ids).select_related("app", "repository"))

    def counts(self) -> tuple[int, int]:
        """How many of them run, and how many wait for a worker."""
        syncing = Subscription.objects.filter(id__in=self.ids, status=Status.SYNCING).count()
        return syncing, len(self.ids) - syncing

    def _choose(self, runs: list[SyncRun]) -> SyncRun:
        after = [run for run in runs if run.started_at >= self._since]
        return after[0] if after else runs[-1]

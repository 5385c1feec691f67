"""The demo whose receiver makes trouble: everything but the files that it always rejects arrives, and it says so."""

import base64
from datetime import datetime

from syncsvc.management.demo_check import compare
from syncsvc.management.demo_source import Source
from syncsvc.management.demo_watch import Demo, DemoFailedError
from syncsvc.models import Status, Subscription, SyncRun
from syncsvc.models.status import FAILING
from syncsvc.statistics.pages import standings
from syncsvc.words import counted


class BadDay(Demo):
    def _arrived(self, subscription: Subscription, since: datetime) -> SyncRun | None:
        """The last run, once only the rejected files are left and the subscription rests until it tries again."""
        subscription.refresh_from_db()
        runs = subscription.runs.filter(started_at__gte=since)
        last = runs.exclude(outcome__in=["", SyncRun.Outcome.INTERRUPTED]).order_by("started_at").last()
        if last is None or not last.to_commit or runs.filter(outcome="").exists():
            return None
        rejected = self._rejected()
        if not rejected:
            return last if subscription.status == Status.SYNCED else None
        waits = subscription.status in (Status.PENDING, Status.FAILED) and subscription.error_kind
        total = self._total(subscription, last)
        return last if waits and self._held(str(subscription.repository_id)) >= total - len(rejected) else None

    def _give_up_if_hopeless(self, subscription: Subscription, since: datetime, seconds: float) -> None:
        """What is rejected may fail for good: the others arrive all the same."""
        if seconds > self._facts.timeout:
            subscription.refresh_from_db()
            why = f"it is {subscription.status}: {subscription.error_kind}: {subscription.last_error}"
            raise DemoFailedError(f"not everything that can arrived within {self._facts.timeout:.0f} s; {why}")

    def _say_arrived(self, subscription: Subscription, run: SyncRun, seconds: float) -> None:
        did, rejected = self._receiver.status()["trouble"], self._rejected()
        held = f"{self._held(str(subscription.repository_id))} of {self._total(subscription, run)}"
        self._say(
            f"{held} files arrived in {seconds:.0f} s although the receiver throttled {_times(did, 'throttled')},"
            f" was unavailable {_times(did, 'unavailable')}, reset {counted(did.get('reset', 0), 'connection')}"
            f" and was slow {_times(did, 'slow')}"
        )
        if rejected:
            listed = ", ".join(f"{path.decode(errors='replace')} ({status})" for path, status in rejected.items())
            self._say(f"these {len(rejected)} are rejected: {listed}")
            self._say(f"the console shows them under Failures: {self._facts.console}failures/")

    def _check(self, subscription: Subscription, run: SyncRun) -> bool:
        self._show("comparing every byte with git")
        source, rejected = Source(self._facts.url, self._facts.branch), self._rejected()
        result = compare(source, run.to_commit, self._receiver, str(subscription.repository_id))
        wrong = [] if len(result.problems) == len(result.missing) else result.shown_problems
        if set(result.missing) != set(rejected):
            wrong.append(f"missing are {sorted(result.missing)!r}, rejected are {sorted(rejected)!r}")
        wrong += self._untrue(subscription, len(rejected))
        for line in wrong:
            self._say(f"failed: {line}")
        if not wrong:
            others = f"the other {result.files - len(rejected)} of commit {run.to_commit[:12]}"
            self._say(f"{others} are exactly git's, byte for byte and mode for mode{result.left_out}")
        return not wrong

    def _untrue(self, subscription: Subscription, rejected: int) -> list[str]:
        """What the console says and is not so."""
        subscription.refresh_from_db()
        app, left = subscription.app, standings([subscription.id])[subscription.id].left or 0
        is_failing = Subscription.objects.filter(FAILING, id=subscription.id).exists()
        said = [
            (
                left != rejected,
                f"the console says that {counted(left, 'file')} are left, where {rejected} are rejected",
            ),
            (is_failing != bool(rejected), f"the subscription is {subscription.status}, and not under Failures"),
            (app.circuit_opened_at is not None, "the app's circuit is open, though the endpoint answers"),
            (app.throttled_until is not None, "the app is shown as throttled, though nothing throttles it any more"),
        ]
        return [line for is_wrong, line in said if is_wrong]

    def _rejected(self) -> dict[bytes, int]:
        rejects = self._receiver.status()["rejects"].items()
        return {base64.b64decode(path): int(status) for path, status in rejects}


def _times(did: dict[str, int], what: str) -> str:
    return counted(did.get(what, 0), "time")

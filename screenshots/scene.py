"""A day of an installation, in a minute: clients, repositories, what went well, what fails, and what goes on."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connection
from django.db.models import Q
from django.utils import timezone

from screenshots.endpoints import Answer
from screenshots.remotes import SIZES, path_of
from screenshots.stage import Stage
from syncsvc.models import App, Operation, Repository, Status, Subscription, Trigger
from syncsvc.models.pausing import set_active
from syncsvc.models.token import ApiToken, TokenScope, new_token
from syncsvc.operations import bulk
from syncsvc.operations.asker import Asker
from syncsvc.operations.scope import Scope
from syncsvc.sync.asking import ask_for_runs
from syncsvc.types import ErrorKind

OPERATOR, PASSWORD = "operator", "open sesame"
SOON = timedelta(seconds=4)
SECONDS = 60  # nothing that is waited for takes longer
FOLLOWS = {
    "docs-search": list(SIZES),
    "acme": [
        "platform/docs", "platform/website", "platform/api-schemas", "platform/translations",
        "platform/design-tokens", "shop/catalog", "shop/prices",
    ],
    "billing": ["shop/prices", "shop/catalog", "shop/checkout-texts", "data/tax-rates", "legal/terms"],
    "mobile": ["mobile/app-config", "mobile/feature-flags", "mobile/release-notes", "support/help-center"],
    "warehouse": ["shop/catalog", "shop/returns", "data/country-codes"],
    "partner-portal": ["platform/docs", "legal/terms"],
}  # fmt: skip
# Hours that pass, and what is committed then.
DAY: tuple[tuple[float, dict[str, tuple[int, ...]]], ...] = (
    (16, {"platform/docs": (1, 2, 3, 412), "shop/prices": (0, 1, 2, 3, 4, 5)}),
    (3, {"platform/website": tuple(range(24)), "shop/catalog": tuple(range(10, 45))}),
    (1, {"platform/docs": tuple(range(20, 48)), "mobile/app-config": (2, 4)}),
    (2, {"support/help-center": tuple(range(12)), "legal/terms": (3,), "platform/api-schemas": (5, 6)}),
    (1, {"shop/promotions": tuple(range(14)), "support/macros": tuple(range(9)), "data/tax-rates": (1, 8)}),
    (1, {"platform/translations": tuple(range(40, 60)), "shop/catalog": tuple(range(50, 66))}),
    (1, {"platform/handbook": tuple(range(31)), "data/dictionaries": (4, 5, 6, 7)}),
    (2, {"shop/catalog": tuple(range(25)), "platform/website": tuple(range(90, 101))}),
)
NOT_IN_AGE = ("due_at", "queued_at", "checked_at", "expires_at", "lease_expires_at", "last_used_at")
REFUSED = Answer(422, '{"error": "the page has no title", "field": "content"}')


class Scene:
    """`build` makes all of it; `operation` then goes on for as long as the endpoint of docs-search is slow."""

    def __init__(self, stage: Stage) -> None:
        self._stage, self.operation = stage, Operation()
        self.finished = Operation()

    def build(self) -> None:
        self._people()
        self._subscribe()
        self._wait(self._is_quiet, "The first sync")
        for hours, commits in DAY:
            self._age(hours)
            self._commit(commits)
        self._bulk_retry()
        self._age(1.7)
        self._break()
        self._age(0.4)
        self._commit({"platform/docs": (5, 40, 41)})
        self._age(0.05)
        self.operation = self._bulk_resync()

    def end(self) -> None:
        """Lets what is on its way arrive, so that workers end at once."""
        self._stage.endpoints.of("docs-search").delay = 0

    def _people(self) -> None:
        users: Any = get_user_model().objects
        self.user = users.get(username=OPERATOR)
        self.user.set_password(PASSWORD)
        self.user.save()
        self._token("deploy-pipeline", [TokenScope.READ, TokenScope.RETRY], used=True)
        self._token("grafana", [TokenScope.READ], used=True)
        self._token("nightly-resync", [TokenScope.RESYNC])

    def _token(self, name: str, scopes: list[TokenScope], *, used: bool = False) -> None:
        now = timezone.now()
        token = ApiToken(name=name, user=self.user, scopes=scopes, expires_at=now + timedelta(days=80))
        token.set_token(new_token())
        token.last_used_at = now - timedelta(minutes=4) if used else None
        token.save()

    def _subscribe(self) -> None:
        remotes, endpoints = self._stage.remotes, self._stage.endpoints
        repositories = {name: Repository.objects.create(name=name, url=remotes.url(name)) for name in SIZES}
        for name, followed in FOLLOWS.items():
            app = App.objects.create(name=name, url=endpoints.url(name), max_in_flight=4)
            for repository in followed:
                Subscription.objects.create(app=app, repository=repositories[repository])
        ask_for_runs(Subscription.objects.all(), Trigger.SUBSCRIBED)

    def _commit(self, commits: dict[str, tuple[int, ...]]) -> None:
        for name, numbers in commits.items():
            self._stage.remotes.change(name, *numbers)
        self._poll(list(commits))

    def _poll(self, names: list[str]) -> None:
        """The scheduler finds those repositories due, and what they have goes out."""
        polled, since = Repository.objects.filter(name__in=names), timezone.now()
        polled.update(due_at=since)
        self._wait(lambda: polled.filter(checked_at__gt=since).count() == len(names), "A poll")
        self._wait(self._is_quiet, "A sync")

    def _bulk_retry(self) -> None:
        """Seven of docs-search's repositories were refused; all but two are repaired, and retried."""
        manners = self._stage.endpoints.of("docs-search")
        manners.of_path = {path_of(number): REFUSED for number in (9, 10)}
        changed = [name for name in SIZES if name.partition("/")[0] in ("support", "legal", "data")]
        self._commit(dict.fromkeys(changed, (9, 11)) | dict.fromkeys(changed[:2], (9, 10, 11)))
        self._age(0.6)
        manners.of_path = {path_of(10): REFUSED}
        scope = Scope(kind=Operation.Kind.RETRY, error_kind=ErrorKind.ENDPOINT_REJECTED)
        self.finished = self._start(scope)
        self._wait(lambda: self._ended(self.finished), "The bulk retry")
        manners.of_path = {}
        ask_for_runs(Subscription.objects.filter(status=Status.FAILED), Trigger.RETRY, asked_by=OPERATOR)
        self._wait(self._is_quiet, "A retry")

    def _break(self) -> None:
        """Each cause that an operator may meet in the morning."""
        endpoints = self._stage.endpoints
        endpoints.of("billing").always = Answer(503, '{"error": "maintenance", "until": "07:00 UTC"}')
        endpoints.of("warehouse").of_path = {path_of(7): Answer(404, '{"error": "no such document type"}')}
        endpoints.of("mobile").of_path = {path_of(3): Answer(500, '{"error": "internal", "trace": "7f3a1c"}')}
        intranet = Repository.objects.create(name="intranet/news", url="https://git.intranet.invalid/intranet/news.git")
        for name in ("docs-search", "acme"):
            Subscription.objects.create(app=App.objects.get(name=name), repository=intranet)
        why = "Moving to a new host until Monday, asked for by their team"
        set_active(App.objects.filter(name="partner-portal"), is_active=False, reason=why)
        self._stage.remotes.delete("platform/translations", 60)
        broken = {"shop/prices": (1, 7), "data/country-codes": (7, 8), "mobile/feature-flags": (3, 9)}
        self._commit({**broken, "legal/terms": (2,), "data/tax-rates": (3, 4, 5), "shop/checkout-texts": (1, 2)})
        self._poll(["platform/translations"])

    def _bulk_resync(self) -> Operation:
        """Caught in its middle: over half is done, two were refused, and the rest takes its time."""
        manners = self._stage.endpoints.of("docs-search")
        manners.of_path = {path_of(59): REFUSED}
        app = App.objects.get(name="docs-search")
        operation = self._start(Scope(kind=Operation.Kind.RESYNC, app_id=app.id))
        self._wait(lambda: self._completed(operation) >= operation.total // 2, "The bulk re-sync")
        manners.delay = 6
        return operation

    def _start(self, scope: Scope) -> Operation:
        asker = Asker(name=OPERATOR, source=Operation.Source.CONSOLE, user=self.user, address="192.0.2.17")
        return bulk.start(scope, asker, confirmed=True)

    def _completed(self, operation: Operation) -> int:
        operation.refresh_from_db()
        return operation.total - operation.waiting - operation.running

    def _ended(self, operation: Operation) -> bool:
        operation.refresh_from_db()
        return bool(operation.ended)

    def _is_quiet(self) -> bool:
        """Nothing runs or is about to; what waits for the end of a cool-down may."""
        soon = Q(status=Status.PENDING, app__is_active=True, due_at__lt=timezone.now() + SOON)
        return not Subscription.objects.filter(soon | Q(status=Status.SYNCING)).exists()

    def _wait(self, over: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + SECONDS
        while not over():
            if time.monotonic() > deadline:
                raise SystemExit(f"{what} took over {SECONDS} s: {_state()}")
            time.sleep(0.2)

    def _age(self, hours: float) -> None:
        """All that happened happened so much earlier; what is yet to come stays when it is."""
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT table_name, array_agg(column_name::text) FROM information_schema.columns"
                " WHERE table_schema = 'public' AND table_name LIKE 'syncsvc\\_%%' AND column_name <> ALL(%s)"
                " AND data_type = 'timestamp with time zone' AND (column_name ~ '_(at|since)$' OR column_name = 'at')"
                " GROUP BY table_name",
                [list(NOT_IN_AGE)],
            )
            for table, columns in cursor.fetchall():
                earlier = ", ".join(f"{column} = {column} - make_interval(secs => %(by)s)" for column in columns)
                cursor.execute(f"UPDATE {table} SET {earlier}", {"by": hours * 3600})  # noqa: S608 - names of ours


def _state() -> str:
    """What is not synced."""
    rows = Subscription.objects.exclude(status=Status.SYNCED).select_related("app", "repository")
    return "; ".join(f"{row} {row.status} {row.error_kind} {row.last_error} {row.due_at}" for row in rows)

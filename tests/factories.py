"""Rows for tests: each factory makes what its row needs, with as little said as possible."""

import hashlib
import uuid
from datetime import timedelta

import factory
from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db.models import QuerySet
from django.utils import timezone
from factory.django import DjangoModelFactory

from syncsvc.models import (
    ApiToken,
    App,
    AuditEntry,
    DeliveredFile,
    DeliveryAttempt,
    Operation,
    OperationItem,
    RemoteHost,
    Repository,
    Snapshot,
    Status,
    Subscription,
    SyncRun,
    Trigger,
)
from syncsvc.operations.apps import PROFILE_NAMES


def sha(text: object) -> str:
    """40 hexadecimal digits, the same for the same text."""
    return hashlib.sha1(str(text).encode(), usedforsecurity=False).hexdigest()


class AppFactory(DjangoModelFactory[App]):
    """Its secret is made when it is saved; `app.secret.reveal()` tells it."""

    name = factory.Sequence("app-{}".format)
    url = factory.LazyAttribute(lambda app: f"https://{app.name}.example.com/hook")

    class Meta:
        model = App


def app_form(**values: str) -> dict[str, str]:
    """The fields of an app's form in the console, with what a new app has."""
    defaults = {name: getattr(App(), name) for name in PROFILE_NAMES}
    profile = {name: "" if value is None else str(value) for name, value in defaults.items()}
    return {**profile, "is_active": "on", "new_secret": "", **values}


class RemoteHostFactory(DjangoModelFactory[RemoteHost]):
    name = factory.Sequence(lambda n: f"git-{n}.example.com")

    class Meta:
        model = RemoteHost


class RepositoryFactory(DjangoModelFactory[Repository]):
    name = factory.Sequence("owner/repository-{}".format)
    url = factory.LazyAttribute(lambda repository: f"https://git.example.com/{repository.name}.git")

    class Meta:
        model = Repository


class SubscriptionFactory(DjangoModelFactory[Subscription]):
    """Pending and due now, unless `synced=True` or `failed=True`."""

    app = factory.SubFactory(AppFactory)
    repository = factory.SubFactory(RepositoryFactory)

    class Meta:
        model = Subscription

    class Params:
        synced = factory.Trait(status=Status.SYNCED, due_at=None, last_success_at=factory.LazyFunction(timezone.now))
        failed = factory.Trait(
            status=Status.FAILED,
            due_at=None,
            retry_count=6,
            error_kind="endpoint_error",
            last_error="The endpoint failed with 500 Internal Server Error.",
            failing_since=factory.LazyFunction(timezone.now),
            # Before the transaction that a test may run in.
            failed_at=factory.LazyFunction(lambda: timezone.now() - timedelta(minutes=1)),
        )


class SnapshotFactory(DjangoModelFactory[Snapshot]):
    repository = factory.SubFactory(RepositoryFactory)
    commit = factory.Sequence(lambda n: sha(f"commit {n}"))
    tree = factory.LazyAttribute(lambda snapshot: sha(f"tree of {snapshot.commit}"))
    files = 10
    bytes = 40_960

    class Meta:
        model = Snapshot


class SyncRunFactory(DjangoModelFactory[SyncRun]):
    """Over and synced, unless `running=True`."""

    subscription = factory.SubFactory(SubscriptionFactory)
    trigger = Trigger.POLL
    epoch = 1
    to_commit = factory.Sequence(lambda n: sha(f"commit {n}"))
    outcome = SyncRun.Outcome.SYNCED
    finished_at = factory.LazyFunction(timezone.now)

    class Meta:
        model = SyncRun

    class Params:
        running = factory.Trait(outcome="", finished_at=None)


class DeliveryAttemptFactory(DjangoModelFactory[DeliveryAttempt]):
    """Acknowledged with 204, unless `rejected=True`. Its subscription is its run's."""

    run = factory.SubFactory(SyncRunFactory)
    subscription = factory.SelfAttribute("run.subscription")
    webhook_id = factory.Faker("uuid4")
    kind = "created"
    path = factory.Sequence(lambda n: b"docs/page-%d.md" % n)
    status = 204
    milliseconds = 12

    class Meta:
        model = DeliveryAttempt

    class Params:
        rejected = factory.Trait(
            status=422,
            error_kind="endpoint_rejected",
            error="The endpoint answered 422 Unprocessable Entity.",
            answer=b'{"error": "no such thing"}',
        )


class DeliveredFileFactory(DjangoModelFactory[DeliveredFile]):
    """Acknowledged in epoch 1, unless `in_doubt=True`: sent, and no answer known."""

    subscription = factory.SubFactory(SubscriptionFactory)
    path = factory.Sequence(lambda n: b"docs/page-%d.md" % n)
    mode = "100644"
    blob = factory.LazyAttribute(lambda file: sha(file.path))
    epoch = 1
    delivered_at = factory.LazyFunction(timezone.now)

    class Meta:
        model = DeliveredFile

    class Params:
        in_doubt = factory.Trait(
            mode=None,
            blob=None,
            epoch=0,
            delivered_at=None,
            doubt_id=factory.Faker("uuid4"),
            doubt_mode="100644",
            doubt_blob=sha("in doubt"),
            doubt_epoch=1,
        )


class OperationFactory(DjangoModelFactory[Operation]):
    """A bulk retry of three that wait. Its counts must add up to its total."""

    kind = Operation.Kind.RETRY
    scope_text = "all failed subscriptions"
    asked_by = "a test"
    source = Operation.Source.COMMAND
    total = 3
    waiting = 3
    finished_at = factory.LazyAttribute(lambda row: timezone.now() if row.status in Operation.ENDED else None)
    status = Operation.Status.RUNNING

    class Meta:
        model = Operation


class OperationItemFactory(DjangoModelFactory[OperationItem]):
    """Waiting. Its operation's counts are the test's affair."""

    operation = factory.SubFactory(OperationFactory)
    subscription = factory.SubFactory(SubscriptionFactory)
    app_id = factory.LazyAttribute(lambda item: item.subscription.app_id if item.subscription else uuid.uuid4())
    app_name = factory.LazyAttribute(lambda item: item.subscription.app.name if item.subscription else "an-app")
    repository_name = factory.LazyAttribute(
        lambda item: item.subscription.repository.name if item.subscription else "owner/gone"
    )
    turn = 1

    class Meta:
        model = OperationItem


def deeds() -> QuerySet[AuditEntry]:
    """The audit without logins, which tests have as well."""
    return AuditEntry.objects.exclude(action__in=("logged_in", "logged_out")).order_by("id")


class UserFactory(DjangoModelFactory[AbstractUser]):
    """Somebody of the console, without any permission."""

    username = factory.Sequence("user-{}".format)
    is_staff = True

    class Meta:
        model = settings.AUTH_USER_MODEL


class ApiTokenFactory(DjangoModelFactory[ApiToken]):
    """Good for a day, to read."""

    name = factory.Sequence("script-{}".format)
    user = factory.SubFactory(UserFactory)
    scopes = factory.LazyFunction(lambda: ["read"])
    digest = factory.Sequence(lambda n: sha(f"token {n}"))
    expires_at = factory.LazyFunction(lambda: timezone.now() + timedelta(days=1))

    class Meta:
        model = ApiToken

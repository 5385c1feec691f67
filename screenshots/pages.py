"""What is pictured: each page of the console, and what opens on some of them."""

from collections.abc import Callable
from typing import Any, NamedTuple

from django.db.models import F, Model
from django.urls import reverse

from screenshots.scene import Scene
from syncsvc.models import (
    ApiToken,
    App,
    AuditEntry,
    DeliveredFile,
    DeliveryAttempt,
    OperationItem,
    Repository,
    Snapshot,
    Subscription,
    SyncRun,
)

type Row = Callable[[Scene], Model]


class Picture(NamedTuple):
    """`address` is a URL's name within the admin, `row` whose page it is; `press` is a button that opens a dialog."""

    name: str
    address: str
    row: Row | None = None
    press: str = ""
    query: str = ""
    phone: bool = False
    logged_in: bool = True

    @property
    def height(self) -> int:
        """At most, in pixels: what stands below in a list is more of the same."""
        return 900 if self.address.endswith("_changelist") else 1500

    def path(self, scene: Scene) -> str:
        arguments = [self.row(scene).pk] if self.row else []
        return reverse(f"admin:{self.address}", args=arguments) + self.query


def _named(model: type[Any], name: str) -> Row:
    return lambda scene: model.objects.get(name=name)


def _subscription(name: str) -> Row:
    app, _, repository = name.partition("/")
    return lambda scene: Subscription.objects.get(app__name=app, repository__name=repository)


def _run(scene: Scene) -> SyncRun:
    return SyncRun.objects.filter(error_kind="endpoint_rejected", to_commit__gt="", created__gt=0).latest("started_at")


def _attempt(scene: Scene) -> DeliveryAttempt:
    return DeliveryAttempt.objects.filter(error_kind="endpoint_rejected", status=404).latest("at")


def _snapshot(scene: Scene) -> Snapshot:
    return Snapshot.objects.filter(repository__name="shop/catalog").latest("taken_at")


def _file(scene: Scene) -> DeliveredFile:
    of_docs = DeliveredFile.objects.filter(
        subscription__app__name="acme", subscription__repository__name="platform/docs"
    )
    return of_docs.order_by(F("delivered_at").desc())[0]


def _item(scene: Scene) -> OperationItem:
    return scene.finished.items.filter(status=OperationItem.Status.FAILED)[0]


OPERATION: Row = lambda scene: scene.operation  # noqa: E731
DOCS, HELD = _subscription("acme/platform/docs"), _subscription("acme/platform/translations")
ACME, DOCS_SEARCH = _named(App, "acme"), _named(App, "docs-search")

# What moves comes first: the operation ends some time.
PICTURES = (
    Picture("operation", "syncsvc_operation_change", OPERATION, phone=True),
    Picture("overview", "index", phone=True),
    Picture("app-operation", "syncsvc_app_change", DOCS_SEARCH),
    Picture("queue", "queue"),
    Picture("operations", "syncsvc_operation_changelist"),
    Picture("operation-cancel", "syncsvc_operation_change", OPERATION, press="Cancel remaining"),
    Picture("failures", "failures", phone=True),
    Picture("failures-retry", "failures", press="Retry this cause"),
    Picture("app", "syncsvc_app_change", _named(App, "warehouse")),
    Picture("app-resync", "syncsvc_app_change", ACME, press="Re-sync all"),
    Picture("app-paused", "syncsvc_app_change", _named(App, "partner-portal")),
    Picture("repository", "syncsvc_repository_change", _named(Repository, "platform/docs")),
    Picture("subscription", "syncsvc_subscription_change", _subscription("warehouse/data/country-codes")),
    Picture("subscription-held", "syncsvc_subscription_change", HELD),
    Picture("subscription-allow", "syncsvc_subscription_change", HELD, press="Allow deletes"),
    Picture("run", "syncsvc_syncrun_change", _run),
    Picture("attempt", "syncsvc_deliveryattempt_change", _attempt),
    Picture("operation-finished", "syncsvc_operation_change", lambda scene: scene.finished),
    Picture("operation-item", "syncsvc_operationitem_change", _item),
    Picture("file", "syncsvc_deliveredfile_change", _file),
    Picture("snapshot", "syncsvc_snapshot_change", _snapshot),
    Picture("token", "syncsvc_apitoken_change", _named(ApiToken, "deploy-pipeline")),
    Picture("apps", "syncsvc_app_changelist"),
    Picture("repositories", "syncsvc_repository_changelist"),
    Picture("subscriptions", "syncsvc_subscription_changelist"),
    Picture("runs", "syncsvc_syncrun_changelist"),
    Picture("attempts", "syncsvc_deliveryattempt_changelist"),
    Picture("files", "syncsvc_deliveredfile_changelist"),
    Picture("snapshots", "syncsvc_snapshot_changelist"),
    Picture("operation-items", "syncsvc_operationitem_changelist"),
    Picture("tokens", "syncsvc_apitoken_changelist"),
    Picture("users", "auth_user_changelist"),
    Picture("groups", "auth_group_changelist"),
    Picture("audit", "syncsvc_auditentry_changelist"),
    Picture("audit-entry", "syncsvc_auditentry_change", lambda scene: AuditEntry.objects.latest("id")),
    Picture("app-add", "syncsvc_app_add"),
    Picture("login", "login", logged_in=False),
)


def files() -> list[str]:
    """The names of all that `make screenshots` saves."""
    names = [f"{picture.name}-{look}.png" for picture in PICTURES for look in ("light", "dark")]
    return sorted(names + [f"{picture.name}-phone.png" for picture in PICTURES if picture.phone])

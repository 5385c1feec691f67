"""Every button of every page while somebody else deletes its row: a message, and never an error page."""

import re
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.messages import get_messages
from django.core.cache import cache
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from syncsvc.admin.config import load_pages
from syncsvc.models import ApiToken, App, DeliveredFile, DeliveryAttempt, Operation, Repository, Subscription, SyncRun
from tests import factories

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}
NOWHERE = "http://127.0.0.1:9/hook"


def syncing(**values: Any) -> Subscription:
    row: Subscription = factories.SubscriptionFactory(
        status="syncing", due_at=None, lease_token=uuid.uuid4(), lease_expires_at=timezone.now() + timedelta(minutes=1)
    )
    factories.SyncRunFactory(subscription=row, running=True)
    return row


def app() -> App:
    return factories.SubscriptionFactory(failed=True, app__url=NOWHERE).app  # type: ignore[no-any-return]


def held() -> Subscription:
    row: Subscription = factories.SubscriptionFactory(failed=True, error_kind="mass_delete_held")
    factories.SyncRunFactory(subscription=row, outcome="held", deleted=7)
    return row


def ended() -> Operation:
    item = factories.OperationItemFactory(subscription=factories.SubscriptionFactory(failed=True), status="failed")
    Operation.objects.update(status="finished", finished_at=timezone.now(), waiting=0, failed=3)
    return item.operation  # type: ignore[no-any-return]


ROWS: dict[type[Model], list[Callable[[], Model]]] = {
    App: [app, lambda: factories.AppFactory(url=NOWHERE, is_active=False)],
    Repository: [lambda: factories.SubscriptionFactory(failed=True).repository],
    Subscription: [lambda: factories.SubscriptionFactory(failed=True), syncing, held],
    SyncRun: [lambda: syncing().runs.get()],
    DeliveryAttempt: [lambda: factories.DeliveryAttemptFactory(rejected=True)],
    DeliveredFile: [factories.DeliveredFileFactory],
    Operation: [factories.OperationFactory, ended],
    ApiToken: [factories.ApiTokenFactory],
}


def buttons() -> Iterator[Any]:
    load_pages()
    for model, model_admin in admin.site._registry.items():
        for button in getattr(model_admin, "buttons", ()):
            for make in ROWS[model]:
                for method in ("get", "post") if button.confirms else ("post",):
                    yield pytest.param(
                        make, button.press, method, id=f"{model.__name__} {button.press} {method} {make.__name__}"
                    )


class DeletesAfterLook:
    """Somebody else deletes the row as soon as the page has read it."""

    def __init__(self, row: Model) -> None:
        self._table, self._pk = row._meta.db_table, row.pk
        self.done = False

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        result = execute(sql, params, many, context)
        if not self.done and sql.startswith("SELECT") and f'FROM "{self._table}"' in sql and self._pk in (params or ()):
            self.done = True
            with connection.cursor() as cursor:
                cursor.execute(f"DELETE FROM {self._table} WHERE id = %s", [self._pk])  # noqa: S608 - constants
        return result


@pytest.fixture(autouse=True)
def _nothing_is_kept() -> None:
    cache.clear()


def said(answer: Any, console: Client) -> str:
    """What the user is told: a toast, a question, or a message on the page that follows."""
    assert answer.status_code < 400, answer.content[:300]
    if "toast" in answer.headers.get("HX-Trigger", ""):
        return str(answer.headers["HX-Trigger"])
    if address := answer.headers.get("HX-Redirect") or answer.headers.get("Location"):
        page = console.get(address, follow=True)
        assert page.status_code == 200
        return " ".join(str(message) for message in get_messages(page.wsgi_request)) or messages_of(page.text)
    return str(answer.content.decode())


def messages_of(page: str) -> str:
    return " ".join(re.findall(r'<ul class="messagelist">(.*?)</ul>', page, re.DOTALL))


@pytest.mark.parametrize("headers", [{}, HTMX], ids=["page", "htmx"])
@pytest.mark.parametrize(("make", "press", "method"), list(buttons()))
def test_a_row_that_is_deleted_while_a_button_is_pressed(
    make: Callable[[], Model], press: str, method: str, headers: dict[str, str], console: Client
) -> None:
    row = make()
    address = reverse(f"admin:syncsvc_{row._meta.model_name}_{press}", args=[row.pk])
    deletes = DeletesAfterLook(row)

    with connection.execute_wrapper(deletes):
        answer = getattr(console, method)(address, headers=headers)

    assert deletes.done
    assert said(answer, console)


@pytest.mark.parametrize("headers", [{}, HTMX], ids=["page", "htmx"])
@pytest.mark.parametrize(("make", "press", "method"), list(buttons()))
def test_a_row_that_was_deleted_before_a_button_is_pressed(
    make: Callable[[], Model], press: str, method: str, headers: dict[str, str], console: Client
) -> None:
    row = make()
    address = reverse(f"admin:syncsvc_{row._meta.model_name}_{press}", args=[row.pk])
    type(row)._default_manager.filter(pk=row.pk).delete()

    answer = getattr(console, method)(address, headers=headers)

    assert "somebody has deleted" in said(answer, console)


@pytest.mark.parametrize("press", ["retry", "stop"])
def test_who_may_not_look_is_not_told_that_a_row_is_gone(press: str, staff: Callable[..., Client]) -> None:
    address = reverse(f"admin:syncsvc_subscription_{press}", args=[uuid.uuid4()])
    assert staff("view_app").post(address).status_code == 403


class AddsBefore:
    """Somebody else adds the same subscription as soon as the form has been checked."""

    def __init__(self, app: App, repository: Repository) -> None:
        self._row = Subscription(app=app, repository=repository)
        self.done = False

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if not self.done and sql.startswith('INSERT INTO "syncsvc_subscription"'):
            self.done = True
            self._row.save()
        return execute(sql, params, many, context)


def test_a_form_whose_row_somebody_else_has_just_added_says_so(console: Client) -> None:
    app, repository = factories.AppFactory(), factories.RepositoryFactory()
    adds = AddsBefore(app, repository)

    with connection.execute_wrapper(adds):
        answer = console.post(
            reverse("admin:syncsvc_subscription_add"),
            {"app": str(app.pk), "repository": str(repository.pk), "is_active": "on"},
        )

    assert adds.done
    assert "Somebody else was quicker" in said(answer, console)

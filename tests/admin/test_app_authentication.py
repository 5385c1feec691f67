"""Headers and certificates in an app's form and on its page: they go in, and never come out."""

from collections.abc import Callable
from pathlib import Path

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse

from syncsvc.delivery.signing import new_secret
from syncsvc.models import App
from syncsvc.models.fields import Sealed
from tests.delivery.authority import Authority
from tests.factories import AppFactory, SubscriptionFactory, app_form
from tests.outages import open_circuit

pytestmark = pytest.mark.django_db

ADD = "/admin/syncsvc/app/add/"
OLD = "https://shop.example.com/hook"
SECRET = "s3cr3t-of-a-header"
HEADERS = f"Authorization: Bearer {SECRET}"


@pytest.fixture
def pair(tmp_path: Path) -> tuple[str, str]:
    return Authority(tmp_path).client()


def page_of(app: App) -> str:
    return reverse("admin:syncsvc_app_change", args=[app.pk])


def form(**values: str) -> dict[str, str]:
    return app_form(**{"name": "shop", "url": OLD, **values})


def full(pair: tuple[str, str]) -> App:
    app: App = AppFactory(name="shop", url=OLD, headers=HEADERS, client_certificate=pair[0], client_key=pair[1])
    return app


def test_a_new_app_is_given_them_and_its_page_shows_names_alone(console: Client, pair: tuple[str, str]) -> None:
    values = {"new_headers": HEADERS, "client_certificate": pair[0], "new_client_key": pair[1]}
    page = console.post(ADD, form(**values), follow=True).text
    app = App.objects.get()
    assert app.headers is not None
    assert app.headers.reveal() == HEADERS
    assert app.client_key is not None
    assert "<code>Authorization</code>" in page
    assert "CN=syncsvc, until " in page
    assert SECRET not in page
    assert pair[1].splitlines()[1] not in page


def test_blank_keeps_what_is_stored(console: Client, pair: tuple[str, str]) -> None:
    app = full(pair)
    before = App.objects.get().authentication
    console.post(page_of(app), form(max_batch="7", client_certificate=before[2]))
    changed = App.objects.get()
    assert (changed.max_batch, changed.authentication) == (7, before)


def test_headers_are_removed_by_a_tick_and_a_certificate_with_its_key(console: Client, pair: tuple[str, str]) -> None:
    app = full(pair)
    console.post(page_of(app), form(remove_headers="on", client_certificate=""))
    assert App.objects.get().authentication == (None, "", "", None)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"new_headers": f"Webhook-Id: {SECRET}"}, "new_headers"),
        ({"new_headers": f"no header {SECRET}"}, "new_headers"),
        ({"new_headers": f"{HEADERS}\n{HEADERS}"}, "new_headers"),
        ({"ca_certificate": "nonsense"}, "ca_certificate"),
        ({"ca_certificate": "MANY"}, "ca_certificate"),
        ({"client_certificate": "nonsense"}, "client_certificate"),
        ({"new_client_key": f"nonsense {SECRET}"}, "new_client_key"),
        ({"client_certificate": "PEM"}, "new_client_key"),
        ({"new_client_key": "KEY"}, "client_certificate"),
        ({"client_certificate": "PEM", "new_client_key": "OTHER"}, "new_client_key"),
        ({"at_new_host": "x"}, "at_new_host"),
    ],
)
def test_what_does_not_fit_is_the_fields_error_and_no_secret_is_shown_again(
    values: dict[str, str], field: str, console: Client, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.client()
    texts = {"MANY": certificate * 100, "PEM": certificate, "KEY": key, "OTHER": authority.client()[1]}
    posted = form(**{name: texts.get(value, value) for name, value in values.items()})
    app = AppFactory(name="shop", url=OLD)
    for address in (ADD, page_of(app)) if field != "at_new_host" else (page_of(app),):
        answer = console.post(address, posted | ({"name": "other"} if address == ADD else {}))
        again = {"new_client_key"} if field == "client_certificate" and "new_client_key" in values else set()
        assert set(answer.context["adminform"].form.errors) == {field} | again
        assert SECRET not in answer.text
        assert "PRIVATE KEY-----\nM" not in answer.text
    assert App.objects.get().authentication == (None, "", "", None)


def test_what_was_typed_and_is_not_shown_again_is_asked_for_again(console: Client, pair: tuple[str, str]) -> None:
    """Whoever corrects the other field would keep the old headers and keys, and take them for the new ones."""
    app = full(pair)
    typed = {"new_headers": HEADERS, "new_client_key": pair[1], "client_certificate": pair[0]}
    for other, wrong in (({"max_batch": "0"}, "max_batch"), ({"remove_headers": "on"}, "remove_headers")):
        secret = new_secret()
        answer = console.post(page_of(app), form(**typed, **other, new_secret=secret))
        assert set(answer.context["adminform"].form.errors) == {wrong, "new_headers", "new_client_key", "new_secret"}
        assert answer.text.count("type it again") == 3
        assert not any(text in answer.text for text in (SECRET, secret, pair[1].splitlines()[1]))
    assert App.objects.get().secret.reveal() == app.secret.reveal()


def test_another_host_is_asked_about_and_then_gets_them_or_not(console: Client, pair: tuple[str, str]) -> None:
    app = full(pair)
    stored = App.objects.get().client_certificate
    moved = form(url="https://new.example.com/hook", client_certificate=stored)

    asked = console.post(page_of(app), moved)
    assert set(asked.context["adminform"].form.errors) == {"at_new_host"}
    assert App.objects.get().url == OLD

    console.post(page_of(app), moved | {"at_new_host": "keep"})
    assert App.objects.get().headers is not None

    answer = console.post(page_of(app), moved | {"url": OLD, "at_new_host": "drop"}, follow=True)
    assert "headers and certificates of the old one are gone" in answer.text
    assert App.objects.get().authentication == (None, "", "", None)


def test_a_certificate_that_ends_soon_is_warned_of_on_the_page(console: Client, tmp_path: Path) -> None:
    certificate, key = Authority(tmp_path).client(days=5)
    app = AppFactory(client_certificate=certificate, client_key=key)
    assert "give the app a renewed one" in console.get(page_of(app)).text


def test_headers_that_no_key_reads_leave_the_page_there(console: Client) -> None:
    app = AppFactory()
    App.objects.update(headers=Sealed(b"of another key"))
    answer = console.get(page_of(app))
    assert answer.status_code == 200
    assert "cannot be read with ENCRYPTION_KEYS" in answer.text


def test_who_only_looks_sees_names_alone(staff: Callable[..., Client], pair: tuple[str, str]) -> None:
    page = staff("view_app").get(page_of(full(pair)))
    assert page.status_code == 200
    assert "<code>Authorization</code>" in page.text
    assert SECRET not in page.text


def test_a_form_that_a_browser_sends_back_as_it_is_changes_no_certificate(
    console: Client, pair: tuple[str, str]
) -> None:
    """With line ends of its own; else each save would close the circuit, and a certificate seem to be given again."""
    app = full(pair)
    open_circuit(app.pk)
    before = App.objects.get()
    posted = form(client_certificate=before.client_certificate.replace("\n", "\r\n"), max_batch="7")

    console.post(page_of(app), posted)

    after = App.objects.get()
    assert (after.max_batch, after.authentication) == (7, before.authentication)
    assert after.circuit_opened_at is not None
    asked = console.post(page_of(app), posted | {"url": "https://new.example.com/hook"})
    assert set(asked.context["adminform"].form.errors) == {"at_new_host"}
    console.post(page_of(app), posted | {"url": "https://new.example.com/hook", "at_new_host": "drop"})
    assert App.objects.get().authentication == (None, "", "", None)


def test_headers_for_an_app_that_was_moved_meanwhile_are_refused_in_words(console: Client) -> None:
    """Between the reading of the row and its saving, which a trigger of the database stands for."""
    app = AppFactory(name="shop", url=OLD)
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION moved() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " UPDATE syncsvc_app SET url = 'https://new.example.com/' WHERE url <> 'https://new.example.com/';"
            " RETURN NULL; END $$"
        )
        cursor.execute("CREATE TRIGGER moved AFTER UPDATE ON syncsvc_subscription EXECUTE FUNCTION moved()")
    SubscriptionFactory(app=app, failed=True)

    answer = console.post(page_of(app), form(new_headers=HEADERS), follow=True)

    assert answer.status_code == 200
    assert "Somebody has changed the URL of shop meanwhile" in answer.text
    assert App.objects.get().headers is None

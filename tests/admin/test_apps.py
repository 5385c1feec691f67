"""Apps in the console: their secrets, the exchange of them, and the button "Test"."""

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from standardwebhooks import Webhook

from syncsvc.delivery.signing import Signing, new_secret, public_key
from syncsvc.models import App
from tests.factories import AppFactory, app_form, deeds
from tests.outages import open_circuit
from tests.receiver import Receiver

pytestmark = pytest.mark.django_db

ADD = "/admin/syncsvc/app/add/"
SECRET = re.compile(r"whsec_[A-Za-z0-9+/=]+")


def page_of(app: App) -> str:
    return reverse("admin:syncsvc_app_change", args=[app.pk])


def button(app: App, press: str) -> str:
    return reverse(f"admin:syncsvc_app_{press}", args=[app.pk])


def form(**values: str) -> dict[str, str]:
    return app_form(**{"name": "shop", "url": "https://shop.example.com/hook", **values})


def test_a_new_apps_secret_is_shown_once(console: Client) -> None:
    first = console.post(ADD, form(), follow=True)
    app = App.objects.get(name="shop")

    assert SECRET.findall(first.text) == [app.secret.reveal()]
    assert not SECRET.search(console.get(page_of(app)).text)


def test_a_secret_that_waits_to_be_shown_is_encrypted(console: Client) -> None:
    console.post(ADD, form())
    secret = App.objects.get(name="shop").secret.reveal()

    assert all(secret not in str(session.get_decoded()) for session in Session.objects.all())
    assert all(secret not in cookie.value for cookie in console.cookies.values())


def test_a_part_that_is_asked_for_first_leaves_the_secret_to_the_page(console: Client) -> None:
    console.post(ADD, form())
    app = App.objects.get(name="shop")

    part = console.get(page_of(app), {"part": "health"}, headers={"HX-Request": "true"})

    assert part.status_code == 200
    assert "messages" not in part.cookies
    assert SECRET.findall(console.get(page_of(app)).text) == [app.secret.reveal()]


def test_a_secret_may_be_brought_along(console: Client) -> None:
    secret = new_secret()

    console.post(ADD, form(new_secret=secret))

    assert App.objects.get(name="shop").secret.reveal() == secret


@pytest.mark.parametrize("secret", ["abc", "whsec_", "whsec_c2hvcnQ="])
def test_a_secret_that_is_none_is_refused_and_not_shown(secret: str, console: Client) -> None:
    response = console.post(ADD, form(new_secret=secret))

    assert response.context["adminform"].form.errors.keys() == {"new_secret"}
    assert f'value="{secret}"' not in response.text
    assert not App.objects.exists()


def test_a_blank_secret_keeps_the_one_there_is(console: Client) -> None:
    app = AppFactory(name="shop")

    console.post(page_of(app), form(max_batch="50"))

    changed = App.objects.get()
    assert (changed.max_batch, changed.secret.reveal()) == (50, app.secret.reveal())


def test_limits_are_set_and_taken_back(console: Client) -> None:
    AppFactory(name="shop")

    console.post(page_of(App.objects.get()), form(max_per_second="96", timeout="2.5"))
    assert App.objects.values_list("max_per_second", "timeout").get() == (96, 2.5)

    console.post(page_of(App.objects.get()), form())
    assert App.objects.values_list("max_per_second", "timeout").get() == (None, None)


def test_a_typed_secret_replaces_the_old_one_which_signs_for_a_day(console: Client) -> None:
    app, secret = AppFactory(name="shop"), new_secret()

    page = console.post(page_of(app), form(new_secret=secret), follow=True).text

    now = timezone.now()
    changed = App.objects.get()
    assert changed.signing_secrets(now) == [secret, app.secret.reveal()]
    assert changed.signing_secrets(now + timedelta(hours=25)) == [secret]
    assert secret not in page


def test_rotating_makes_a_secret_and_shows_it_once(console: Client) -> None:
    app = AppFactory()

    page = console.post(button(app, "rotate"), follow=True).text

    new, old = App.objects.get().signing_secrets(timezone.now())
    assert (SECRET.findall(page), old) == ([new], app.secret.reveal())
    assert not SECRET.search(console.get(page_of(app)).text)


def test_rotating_again_while_the_one_before_is_valid_is_refused_unless_the_question_was_answered(
    console: Client,
) -> None:
    app = AppFactory()
    console.post(button(app, "rotate"))
    before = App.objects.get().signing_secrets(timezone.now())

    refused = console.post(button(app, "rotate"), follow=True).text
    assert "Failed to rotate the secret" in refused
    assert App.objects.get().signing_secrets(timezone.now()) == before

    question = console.get(button(app, "rotate"), headers={"HX-Request": "true"}).text
    assert "those before until their ends" in " ".join(question.split())
    assert '<input type="hidden" name="force" value="1">' in question
    page = console.post(button(app, "rotate"), {"force": "1"}, follow=True).text
    new, *old = App.objects.get().signing_secrets(timezone.now())
    assert (SECRET.findall(page), old) == ([new], before)
    assert "3 secrets sign" in page


def test_a_typed_secret_is_refused_while_the_one_before_is_valid(console: Client) -> None:
    app = AppFactory(name="shop")
    console.post(button(app, "rotate"))
    before = App.objects.get().signing_secrets(timezone.now())

    response = console.post(page_of(app), form(new_secret=new_secret()))

    assert response.context["adminform"].form.errors.keys() == {"new_secret"}
    assert App.objects.get().signing_secrets(timezone.now()) == before


def test_no_secret_is_in_the_admin_log(console: Client) -> None:
    console.post(ADD, form())
    app = App.objects.get()
    console.post(page_of(app), form(new_secret=new_secret()))
    console.post(button(app, "rotate"), {"force": "1"})

    entries = list(deeds().all())
    assert len(entries) == 4
    assert not any(SECRET.search(f"{entry.object_name} {entry.text}") for entry in entries)


def test_test_sends_a_signed_ping_and_shows_the_answer(console: Client) -> None:
    with Receiver(lambda headers, body: (200, {}, b"<b>hello</b>", 0.0)) as receiver:
        app = AppFactory(url=receiver.url)
        page = console.post(button(app, "test"), follow=True).text

    (request,) = receiver.requests
    sent = Webhook(app.secret.reveal()).verify(request.body, request.headers)
    assert (sent["type"], sent["data"]["app"]["name"]) == ("ping", app.name)
    assert "The endpoint answered 200 in" in page
    assert "&lt;b&gt;hello&lt;/b&gt;" in page


def test_test_says_what_went_wrong(console: Client) -> None:
    app = AppFactory(url="http://127.0.0.1:9/hook")

    page = console.post(button(app, "test"), follow=True).text

    assert "endpoint_unreachable" in page
    assert App.objects.get().failure_streak == 0


def test_a_good_test_says_that_it_closed_the_circuit_and_the_page_is_well_again(console: Client) -> None:
    with Receiver() as receiver:
        app = AppFactory(url=receiver.url)
        open_circuit(app.pk)
        assert "Circuit open" in console.get(page_of(app)).text
        page = console.post(button(app, "test"), follow=True).text

    assert "This closed the circuit" in page
    assert "Circuit open" not in page


def test_test_reaches_no_address_that_is_not_allowed(console: Client, settings: pytest.FixtureRequest) -> None:
    settings.WEBHOOK_ALLOWED_NETWORKS = []  # type: ignore[attr-defined]
    with Receiver() as receiver:
        page = console.post(button(AppFactory(url=receiver.url), "test"), follow=True).text

    assert "endpoint_forbidden_address" in page
    assert receiver.requests == []


@pytest.mark.parametrize("press", ["test", "rotate"])
def test_buttons_are_posts_of_people_who_may_change_apps(press: str, staff: Callable[..., Client]) -> None:
    app = AppFactory()
    looker, changer = staff("view_app"), staff("view_app", "change_app")

    assert looker.post(button(app, press)).status_code == 403
    assert button(app, press) not in looker.get(page_of(app)).text
    assert looker.get(button(app, press)).status_code == (403 if press == "rotate" else 405)
    assert changer.get(button(app, press)).status_code == (200 if press == "rotate" else 405)
    assert button(app, press) in changer.get(page_of(app)).text
    assert App.objects.get().secret.reveal() == app.secret.reveal()


def test_saving_leaves_what_workers_write_meanwhile(console: Client) -> None:
    app = AppFactory(name="shop", url="https://shop.example.com/hook", is_active=False, pause_reason="answered 410")
    open_circuit(app.pk)

    console.post(page_of(app), form())

    changed = App.objects.get()
    assert (changed.failure_streak, changed.is_active, changed.pause_reason) == (5, True, "")


def test_a_new_url_starts_with_a_closed_circuit(console: Client) -> None:
    app = AppFactory(name="shop")
    open_circuit(app.pk)

    console.post(page_of(app), form(url="https://new.example.com/hook"))

    assert App.objects.get().circuit_opened_at is None


PRIVATE = re.compile(r"whsk_[A-Za-z0-9+/=]+")
PUBLIC = re.compile(r"whpk_[A-Za-z0-9+/=]+")


def test_a_new_app_may_have_a_key_pair_whose_public_key_is_shown_always(console: Client) -> None:
    page = console.post(ADD, form(signing="ed25519"), follow=True).text
    app = App.objects.get()
    key = public_key(app.secret.reveal())
    for shown in (page, console.get(page_of(app)).text):
        assert set(PUBLIC.findall(shown)) == {key}
        assert not PRIVATE.search(shown)
        assert "shown this once" not in shown


def test_another_way_of_signing_makes_a_secret_and_the_one_before_signs_too(console: Client) -> None:
    app = AppFactory(name="shop")
    console.post(page_of(app), form(signing="ed25519"))
    page = console.get(page_of(app)).text
    pair, shared = App.objects.get().signing_secrets(timezone.now())
    assert (PUBLIC.findall(page), shared) == ([public_key(pair)], app.secret.reveal())

    refused = console.post(page_of(app), form(signing="hmac-sha256"))
    assert refused.context["adminform"].form.errors.keys() == {"signing"}
    console.post(page_of(app), form(signing="ed25519", max_batch="9"))
    assert App.objects.get().signing_secrets(timezone.now()) == [pair, shared], "the same choice exchanges nothing"


def test_a_key_pair_is_rotated_to_another_one(console: Client) -> None:
    app = AppFactory(secret=new_secret(Signing.ED25519))
    question = console.get(button(app, "rotate"), headers={"HX-Request": "true"}).text
    assert "page shows its public key" in question
    assert "shown once" not in question
    page = console.post(button(app, "rotate"), follow=True).text
    assert "There is a new key pair" in page
    keys = [public_key(secret) for secret in App.objects.get().signing_secrets(timezone.now())]
    assert PUBLIC.findall(page) == keys
    assert not PRIVATE.search(page)


def test_a_new_app_that_was_to_have_a_key_pair_is_given_no_shared_secret(console: Client) -> None:
    refused = console.post(ADD, form(signing="ed25519", new_secret=new_secret()))
    assert "signing" in refused.context["adminform"].form.errors
    pair = new_secret(Signing.ED25519)
    console.post(ADD, form(signing="hmac-sha256", new_secret=pair))  # which a new form has chosen by itself
    assert App.objects.get().secret.reveal() == pair


def test_a_typed_key_must_be_of_the_chosen_kind(console: Client) -> None:
    app, secret = AppFactory(name="shop"), new_secret(Signing.ED25519)
    shared = console.post(page_of(app), form(signing="ed25519", new_secret=new_secret()))
    assert shared.context["adminform"].form.errors.keys() == {"signing", "new_secret"}
    console.post(page_of(app), form(signing="ed25519", new_secret=secret))
    page = console.get(page_of(app)).text
    assert App.objects.get().secret.reveal() == secret
    assert secret not in page
    assert public_key(secret) in page

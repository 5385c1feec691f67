"""pause, resume, subscription_change: what they ask, change and say."""

import pytest
from django.contrib.auth.models import User

from syncsvc.models import App, Repository, Subscription
from tests.factories import SubscriptionFactory, deeds
from tests.management.conftest import Run
from tests.management.working import Terminal

CASES = [
    (("client",), "app", App),
    (("--repository", "owner/repo"), "repository", Repository),
    (("--subscription", "client/owner/repo"), "subscription", Subscription),
]


@pytest.fixture
def row(transactional_db: None) -> Subscription:
    row: Subscription = SubscriptionFactory.create(app__name="client", repository__name="owner/repo")
    return row


@pytest.mark.parametrize(("which", "kind", "model"), CASES)
def test_it_is_paused_and_resumed(run: Run, row: Subscription, which: tuple[str, ...], kind: str, model: type) -> None:
    paused = run("pause", *which, "--yes", "--json")
    one = model.objects.get()  # type: ignore[attr-defined]
    assert (paused.code, one.is_active) == (0, False)
    assert paused.json == {"kind": kind, "id": str(one.pk), "name": str(one), "paused": True, "changed": True}
    assert sum(not other.objects.get().is_active for other in (App, Repository, Subscription)) == 1

    again = run("pause", *which, "--json")
    assert (again.code, again.json["paused"], again.json["changed"]) == (0, True, False)
    resumed = run("resume", *which, "--yes", "--json")
    assert (resumed.code, resumed.json["paused"], resumed.json["changed"]) == (0, False, True)
    assert model.objects.get().is_active  # type: ignore[attr-defined]


def test_in_words(run: Run, row: Subscription) -> None:
    assert run("pause", "client", "--yes").out == "client paused; nothing is lost\n"
    assert run("pause", "client").out == "client is paused already\n"
    assert run("resume", "client", "--yes").out == "client resumed; what became due is sent\n"


@pytest.mark.parametrize(("which", "kind", "model"), CASES)
def test_without_a_terminal_nothing_is_paused_unless_yes(
    run: Run, row: Subscription, which: tuple[str, ...], kind: str, model: type
) -> None:
    assert run("pause", *which, "--json").refusal == "confirm"
    assert "--yes" in run("pause", *which).err
    assert model.objects.get().is_active  # type: ignore[attr-defined]


def test_a_person_at_a_terminal_is_asked(run: Run, row: Subscription) -> None:
    with Terminal() as terminal:
        terminal.type("n", after=0.2)
        assert run("pause", "client").code == 2
    assert "Pause client?" in terminal.seen
    assert App.objects.get().is_active
    with Terminal() as terminal:
        terminal.type("y", after=0.2)
        assert run("pause", "client").code == 0
    assert not App.objects.get().is_active


def test_resuming_one_subscription_asks_nothing_and_an_app_says_why_it_was_paused(run: Run, row: Subscription) -> None:
    Subscription.objects.update(is_active=False)
    App.objects.update(is_active=False, pause_reason="It answered 410.")
    assert run("resume", "--subscription", row.id).code == 0
    asked = run("resume", "client")
    assert asked.code == 2
    assert "It answered 410." in asked.err


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ((), "usage"),
        (("client", "--repository", "owner/repo"), "usage"),
        (("client/owner/repo",), "usage"),
        (("nobody",), "not_found"),
        (("--repository", "no/such"), "not_found"),
        (("--subscription", "client/no/such"), "not_found"),
        (("client", "--as", "nobody"), "not_found"),
        (("\udcff",), "invalid"),
    ],
)
def test_what_cannot_be_is_refused(run: Run, row: Subscription, arguments: tuple[str, ...], kind: str) -> None:
    for command in ("pause", "resume"):
        App.objects.update(is_active=command == "pause")
        assert run(command, *arguments, "--yes", "--json").refusal == kind


def test_a_user_s_pause_is_in_the_log(run: Run, row: Subscription) -> None:
    user = User.objects.create_user("ann")
    run("pause", "client", "--yes", "--as", "ann")
    run("resume", "client", "--yes")
    entries = [(entry.user_id, entry.actor[:14], entry.text, entry.object_name) for entry in deeds()]
    assert entries == [(user.pk, "command pause ", "Paused.", "client"), (None, "command resume", "Resumed.", "client")]


def test_a_subscription_is_changed(run: Run, row: Subscription) -> None:
    done = run("subscription_change", "client/owner/repo", "--pause", "--yes", "--json")
    base = {"id": str(row.id), "app": "client", "repository": "owner/repo"}
    assert (done.code, done.json) == (0, {**base, "paused": True, "changed": ["paused"]})
    assert run("subscription_change", row.id, "--pause", "--json").json["changed"] == []
    assert run("subscription_change", row.id, "--resume", "--json").json["paused"] is False
    assert run("subscription_change", row.id, "--json").refusal == "usage"
    assert run("subscription_change", row.id, "--pause", "--json").refusal == "confirm"
    assert run("subscription_change", "client/no", "--pause", "--json").refusal == "not_found"

"""`manage.py audit`, and what commands leave in it."""

from datetime import timedelta

import pytest
from django.utils import timezone

from syncsvc.models import AuditEntry
from tests.management.conftest import Run


def test_what_commands_change_is_there_with_who_ran_them(run: Run) -> None:
    assert run("app_add", "shop", "https://example.com/hook").code == 0
    assert run("repository_add", "https://example.com/a/b").code == 0
    assert run("subscribe", "shop", "a/b").code == 0
    assert run("app_change", "shop", "--max-batch", "7").code == 0
    assert run("unsubscribe", "shop/a/b", "--yes").code == 0

    entries = run("audit", "--json").json["entries"]

    assert [(one["action"], one["object_type"], one["object_name"], one["text"]) for one in reversed(entries)] == [
        ("added", "app", "shop", "Added."),
        ("added", "repository", "a/b", "Added."),
        ("added", "subscription", "shop/a/b", "Added."),
        ("changed", "app", "shop", "Changed max batch."),
        ("deleted", "subscription", "shop/a/b", "Deleted."),
    ]
    assert all(one["who"].startswith("command ") and one["source"] == "command" for one in entries)


def test_it_is_filtered_and_printed(run: Run) -> None:
    AuditEntry.objects.create(
        action="login_failed",
        actor="ann",
        source="console",
        address="192.0.2.7",
        object_type="user",
        object_name="ann",
        times=3,
        at=timezone.now() - timedelta(days=2),
        last_at=timezone.now() - timedelta(days=2),
    )
    AuditEntry.objects.create(action="changed", actor="ben", source="api", object_type="app", object_name="s\x1b[0m")

    (line, other) = run("audit").out.splitlines()
    assert r"ben (api): changed app s\x1b[0m" in line
    assert "ann (console, 192.0.2.7): login failed user ann (3 times, last" in other
    assert len(run("audit", "--about", "192.0.2.7", "--json").json["entries"]) == 1
    assert len(run("audit", "--about", "ben", "--json").json["entries"]) == 1
    assert len(run("audit", "--action", "login_failed", "--json").json["entries"]) == 1
    assert len(run("audit", "--since", f"{timezone.now() - timedelta(days=1):%Y-%m-%d}", "--json").json["entries"]) == 1
    assert len(run("audit", "--limit", "1", "--json").json["entries"]) == 1
    assert run("audit", "--about", "nobody").out == "No entry.\n"


@pytest.mark.parametrize("options", [("--since", "yesterday"), ("--action", "x"), ("--limit", "0"), ("--limit", "x")])
def test_what_is_no_filter_is_refused(run: Run, options: tuple[str, str]) -> None:
    assert run("audit", *options, "--json").refusal == "usage"

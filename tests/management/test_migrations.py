"""The migrations say what the models say."""

from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from syncsvc.models.fields import EndingSecret, Sealed

DAY = timedelta(days=1)


@pytest.mark.django_db
def test_no_migration_is_missing() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


@pytest.mark.django_db
def test_django_s_checks_have_nothing_to_say() -> None:
    """All there are, which load every page and address; commands run those of our settings only."""
    call_command("check", fail_level="WARNING")


def migrated_to(name: str) -> Any:
    """App's model as that migration leaves it."""
    executor = MigrationExecutor(connection)
    executor.migrate([("syncsvc", name)])
    return executor.loader.project_state([("syncsvc", name)]).apps.get_model("syncsvc", "App")


@pytest.mark.django_db(transaction=True)
def test_a_secret_that_still_signs_is_taken_along_in_both_directions() -> None:
    graph = MigrationExecutor(connection).loader.graph
    (latest,) = [name for app, name in graph.leaf_nodes() if app == "syncsvc"]
    (here,) = [key for key in graph.nodes if key[1].endswith("_previous_secrets")]
    (before,) = [parent.key[1] for parent in graph.node_map[here].parents]
    now = timezone.now()
    url = "https://hook.example.com/"
    try:
        old: Any = migrated_to(before)
        old.objects.create(name="rotating", url=url, secret="b", previous_secret="a", previous_secret_until=now + DAY)
        old.objects.create(name="over", url=url, secret="b", previous_secret="a", previous_secret_until=now - DAY)
        old.objects.create(name="plain", url=url, secret="a")
        new: Any = migrated_to(here[1])
        (kept,) = new.objects.get(name="rotating").previous_secrets
        assert (kept.sealed.reveal(), kept.until) == ("a", now + DAY)
        assert [app.previous_secrets for app in new.objects.exclude(name="rotating")] == [[], []]
        newest, oldest = (EndingSecret(Sealed.seal(text), now + n * DAY) for n, text in ((2, "c"), (1, "b")))
        new.objects.filter(name="plain").update(previous_secrets=[newest, oldest])
        old = migrated_to(before)
        plain = old.objects.get(name="plain")
        assert (plain.previous_secret.reveal(), plain.previous_secret_until) == ("c", now + 2 * DAY)
        assert old.objects.get(name="rotating").previous_secret.reveal() == "a"
        assert old.objects.get(name="over").previous_secret is None
    finally:
        migrated_to(latest)

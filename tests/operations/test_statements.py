"""What a bulk costs the database, item by item."""

import re

from syncsvc.models import Repository, Status, Subscription
from syncsvc.operations import bulk
from syncsvc.operations.release import go_on
from syncsvc.sync.pipeline import run_subscription
from tests.factories import AppFactory, RepositoryFactory, SubscriptionFactory
from tests.gitrepo import GitRepo
from tests.operations.fleet import ASKER, RETRY
from tests.sync.test_statements import counting
from tests.sync.world import World

# The goal of the whole system too; see docs/performance.md for what they are.
STATEMENTS = 6
NOT_COUNTED = ("SAVEPOINT", "RELEASE", "BEGIN", "COMMIT", "SELECT 1")


def test_an_item_with_one_changed_file_takes_few_statements(world: World) -> None:
    """Four apps follow three repositories each that have one changed file since."""
    Subscription.objects.all().delete()
    repos = [GitRepo(world.repo.path.with_name(f"remote-{number}")) for number in range(3)]
    repositories = [RepositoryFactory(url=str(repo.path)) for repo in repos]
    for repo in repos:
        repo.commit({"a": b"1", "b": b"1"})
    apps = [AppFactory(url=world.receiver.url) for _ in range(4)]
    subscriptions = [SubscriptionFactory(app=app, repository=known) for app in apps for known in repositories]
    for subscription in subscriptions:
        run_subscription(subscription.id, worker="test")
    for repo, known in zip(repos, repositories, strict=True):
        head = repo.commit({"a": b"2"})
        Repository.objects.filter(id=known.id).update(head_commit=head)  # as its poll has found
    Subscription.objects.update(status=Status.FAILED, error_kind="endpoint_error")
    operation = bulk.start(RETRY, ASKER, max_running=8)
    # The first of a repository fetches, and takes the commit in.
    assert run_subscription(subscriptions[0].id, worker="test", settled=go_on)

    with counting() as statements:
        run = run_subscription(subscriptions[3].id, worker="test", settled=go_on)

    assert run is not None
    assert (run.outcome, run.delivered) == ("synced", 1)
    counted = [re.sub(r"\s+", " ", sql) for sql in statements if not sql.startswith(NOT_COUNTED)]
    print(f"{len(counted)} statements an item:", *counted, sep="\n  ")
    assert len(counted) <= STATEMENTS
    operation.refresh_from_db()
    assert (operation.succeeded, operation.items.filter(released_at=None, status="waiting").count()) == (2, 2)

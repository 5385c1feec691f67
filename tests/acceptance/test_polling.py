"""Ten thousand repositories that were added in one second are not asked in one second ever after."""

from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from tests.gitrepo import GitRepo

POLLED = 60


@pytest.mark.django_db(transaction=True)
def test_polls_of_one_moment_drift_apart(tmp_path: Path) -> None:
    """A minute's polls spread over a tenth of it either way: a thousand a second become eighty."""
    from syncsvc.models import Repository
    from syncsvc.sync.poll import poll_repository

    remote = GitRepo(tmp_path / "remote.git")
    remote.commit({"a": b"1"})
    repositories = [Repository(name=f"many/{number}", url=str(remote.path)) for number in range(POLLED)]
    Repository.objects.bulk_create(repositories)
    delays = []
    for repository in repositories:
        began = timezone.now()
        assert poll_repository(repository.id)
        repository.refresh_from_db()
        delays.append((repository.due_at - began) / timedelta(seconds=1))
    assert min(delays) >= 0.9 * 60
    assert max(delays) <= 1.1 * 60 + 1
    assert max(Counter(int(delay) for delay in delays).values()) < POLLED / 3

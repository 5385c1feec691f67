"""Apps that follow repositories, all of them failed since a file of each repository changed."""

import uuid
from datetime import timedelta

from django.utils import timezone

from benchmarks.stage import Stage, content_of, path_of
from tests.gitrepo import GitRepo

REPOSITORIES = 50
FILES, BYTES = 10, 4096


class Fleet:
    """Each app follows every repository, and has what each held before its last change."""

    def __init__(self, stage: Stage, apps: int, *, repositories: int = REPOSITORIES, url: str = "") -> None:
        from syncsvc.models import App, DeliveredFile, Repository, Snapshot, Subscription

        name, url = uuid.uuid4().hex[:8], url or stage.receiver.url
        self.repos: dict[uuid.UUID, GitRepo] = {}
        self.apps = [App.objects.create(name=f"{name}-{number}", url=url).id for number in range(apps)]
        self._version = 0
        for number in range(repositories):
            repo = GitRepo(stage.folder / f"{name}-{number}.git")
            repo.commit({path_of(n): content_of(n, BYTES, version=number) for n in range(FILES)})
            repository = Repository.objects.create(name=f"{name}/{number}", url=str(repo.path))
            snapshot = Snapshot.objects.create(
                repository=repository, commit=repo.head, tree=repo.rev("main^{tree}"), files=FILES, bytes=FILES * BYTES
            )
            has = {"snapshot": snapshot, "clean_snapshot": snapshot, "clean_epoch": 1}
            follow = [
                Subscription(app_id=app, repository=repository, status="synced", due_at=None, **has)
                for app in self.apps
            ]
            Subscription.objects.bulk_create(follow)
            DeliveredFile.objects.bulk_create(
                DeliveredFile(subscription=one, path=path, mode=file.mode, blob=file.sha, epoch=1)
                for one in follow
                for path, file in repo.ls_tree().items()
            )
            self.repos[repository.id] = repo
        self._polled()

    def __len__(self) -> int:
        return len(self.apps) * len(self.repos)

    def change(self) -> None:
        """One file of each repository; the poll has found that, and no app could be told."""
        self._version += 1
        for repo in self.repos.values():
            repo.commit({path_of(0): content_of(self._version, BYTES, version=1_000)})
        self._polled()
        self.fail(self.apps)

    def subscription_ids(self) -> list[uuid.UUID]:
        from syncsvc.models import Subscription

        return list(Subscription.objects.filter(app__in=self.apps).order_by().values_list("id", flat=True))

    @staticmethod
    def fail(apps: list[uuid.UUID]) -> None:
        from syncsvc.models import Status, Subscription

        now = timezone.now()
        Subscription.objects.filter(app__in=apps).update(
            status=Status.FAILED,
            error_kind="endpoint_error",
            failed_at=now,
            failing_since=now,
            due_at=now + timedelta(hours=1),
            queued_at=None,
        )

    @staticmethod
    def rest(apps: list[uuid.UUID]) -> None:
        """As if all were well with them."""
        from syncsvc.models import Status, Subscription

        Subscription.objects.filter(app__in=apps).update(
            status=Status.SYNCED, error_kind="", failed_at=None, failing_since=None, due_at=None, queued_at=None
        )

    def failed(self) -> int:
        from syncsvc.models import Status, Subscription

        return Subscription.objects.filter(app__in=self.apps, status=Status.FAILED).count()

    def _polled(self) -> None:
        """The next poll is far away: it is not what is measured."""
        from syncsvc.models import Repository

        now = timezone.now()
        for id, repo in self.repos.items():
            Repository.objects.filter(id=id).update(
                head_branch=repo.branch, head_commit=repo.head, checked_at=now, due_at=now + timedelta(hours=1)
            )

"""syncsvc as a worker process runs it: each subscription in a thread of a pool. Celery's start-up is left out."""

import resource
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import django

from benchmarks.contestant import serve


def main() -> None:
    django.setup()
    from django.conf import settings

    from syncsvc.models import Status, Subscription
    from syncsvc.sync.pipeline import run_subscription

    threads = ThreadPoolExecutor(settings.WORKER_THREADS, thread_name_prefix="run")

    def bring_up_to_date(subscription_id: uuid.UUID) -> int:
        """One run; another only where the first found the mirror being fetched by somebody else."""
        while True:
            run = run_subscription(subscription_id, worker="bench")
            if run is not None and run.outcome == run.Outcome.SYNCED:
                return run.delivered
            waits = Subscription.objects.filter(id=subscription_id, status=Status.PENDING).exists()
            assert run is None, f"the run ended as {run.outcome}: {run.error}"
            assert waits, "the subscription was not due"
            time.sleep(0.02)

    def work(ids: list[str]) -> dict[str, float]:
        files = sum(threads.map(bring_up_to_date, map(uuid.UUID, ids)))
        return {"files": files, "peak": peak_bytes()}

    serve(work)


def peak_bytes() -> int:
    """The most this process ever had in memory, its children apart; Linux counts a parent's pages in ru_maxrss too."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    line = next(line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()

"""An app that hangs, however many repositories it follows, does not make the others wait."""

import time

from tests.acceptance.client import WELL, Mood
from tests.acceptance.system import WORKERS, System, wait_for

REPOSITORIES = 20
FILES = 30
HANGS_FOR = 2
# Sixteen requests at once. Without its own limit the hanging app's runs would take twenty times that, by four slots.
A_RUN_HANGS_FOR = 2 * HANGS_FOR


def test_a_hanging_app_with_twenty_repositories_makes_nobody_wait(system: System) -> None:
    """Its twenty runs time out one after the other in every slot that they get; the other app has one repository."""
    hanging, well = system.client("hanging"), system.client("well")
    theirs = [system.remote(f"theirs-{number}") for number in range(REPOSITORIES)]
    ours = system.remote("ours")
    for remote in (*theirs, ours):
        remote.fill(FILES)
    system.add([well], [ours], "--poll", "3600")
    system.wait_until_synced(ours)

    system.stop(*WORKERS)
    # An open circuit would take the point out of the test.
    system.start(
        "worker-1", WORKER_THREADS="4", WEBHOOK_TIMEOUT=str(HANGS_FOR), LEASE_SECONDS="6", CIRCUIT_THRESHOLD="100000"
    )
    hanging.mood = Mood(hangs=True)
    system.add([hanging], theirs, "--poll", "3600")
    wait_for(lambda: len(hanging.sent) >= FILES, "the hanging app is not sent anything")
    waited = []
    for text in ("second", "third", "fourth"):
        before = len(well.sent)
        ours.fill(FILES, text)
        began = time.monotonic()
        system.poll_now(ours)
        wait_for(lambda before=before: len(well.sent) == before + FILES, "the other app waits")  # type: ignore[misc]
        waited.append(time.monotonic() - began)
    assert sorted(waited)[1] < A_RUN_HANGS_FOR, f"the other app waited {waited} s"
    assert max(waited) < 2 * A_RUN_HANGS_FOR, f"the other app waited {waited} s"
    system.wait_until_synced(ours)

    hanging.mood = WELL
    system.wait_until_synced(*theirs)
    system.stop("worker-1")

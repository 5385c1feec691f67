"""A process that wakes workers, once for each line of its input: Celery knows one Redis for as long as it runs."""

import sys
import uuid

import django

django.setup()

from syncsvc import wakeup  # noqa: E402 - not before Django is set up

for _line in sys.stdin:
    wakeup._send(wakeup.POLL_REPOSITORY, [([uuid.uuid4()], "live.0")])
    print("went on", flush=True)

"""Whether this process was asked to end: a run looks here, records what it did and hands its lease back."""

import threading

STOPPING = threading.Event()

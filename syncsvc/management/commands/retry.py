"""Runs failed subscriptions at once: one, or many as an operation."""

from syncsvc.management import bulk
from syncsvc.models import Operation
from syncsvc.operations import single


class Command(bulk.Command):
    help = "Retries failed subscriptions at once: what is missing is sent. Several make an operation."
    kind = Operation.Kind.RETRY
    single = staticmethod(single.retry)

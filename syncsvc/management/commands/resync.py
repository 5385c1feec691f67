"""Sends everything again: of one subscription, or of many as an operation."""

from syncsvc.management import bulk
from syncsvc.models import Operation
from syncsvc.operations import single


class Command(bulk.Command):
    help = "Sends every file again, as if the app had none. Several subscriptions make an operation."
    kind = Operation.Kind.RESYNC
    single = staticmethod(single.resync)

"""Ends a subscription."""

from syncsvc.management import removing
from syncsvc.management.selectors import find_subscription


class Command(removing.Command):
    help = "Ends a subscription: the app is told of the repository no more, and keeps the files that it has."
    command = "unsubscribe"
    metavar = "APP/REPOSITORY"
    find = staticmethod(find_subscription)

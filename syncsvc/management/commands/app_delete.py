"""Deletes a client app."""

from syncsvc.management import removing
from syncsvc.management.selectors import find_app


class Command(removing.Command):
    help = "Deletes an app with its subscriptions, what they delivered and their history; says first what goes."
    command = "app_delete"
    metavar = "NAME"
    find = staticmethod(find_app)

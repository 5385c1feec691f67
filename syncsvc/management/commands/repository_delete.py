"""Deletes a repository."""

from syncsvc.management import removing
from syncsvc.management.selectors import find_repository


class Command(removing.Command):
    help = "Deletes a repository with its subscriptions and their history; says first what goes. Apps keep their files."
    command = "repository_delete"
    metavar = "NAME"
    find = staticmethod(find_repository)

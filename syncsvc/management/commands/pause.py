"""Pauses an app, a repository or a subscription."""

from syncsvc.management import pausing


class Command(pausing.Command):
    help = "Pauses an app, a repository or a subscription: nothing is sent, nothing is lost."
    is_active = False

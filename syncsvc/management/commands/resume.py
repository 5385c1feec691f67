"""Resumes what is paused."""

from syncsvc.management import pausing


class Command(pausing.Command):
    help = "Resumes an app, a repository or a subscription: what became due meanwhile is sent within seconds."
    is_active = True

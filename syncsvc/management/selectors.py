"""Which apps, repositories and subscriptions a command is about."""

from argparse import ArgumentParser
from collections.abc import Mapping
from typing import Any

from syncsvc.exceptions import Refused
from syncsvc.models import App, Repository, Subscription
from syncsvc.models.subscription import SubscriptionQuerySet

LISTED = "`manage.py status` lists what there is."


def add_selectors(parser: ArgumentParser) -> None:
    parser.add_argument("subscriptions", nargs="*", metavar="SUBSCRIPTION", help="APP/REPOSITORY, or an id")
    parser.add_argument("--app", help="only this app's subscriptions (name or id)")
    parser.add_argument("--repository", help="only this repository's subscriptions (name or id)")


def selected(options: Mapping[str, Any]) -> SubscriptionQuerySet:
    """All subscriptions that every given selector agrees to; Refused `not_found` where one names nothing."""
    subscriptions = Subscription.objects.all()
    if options["subscriptions"]:
        subscriptions = subscriptions.filter(id__in=[find_subscription(name).id for name in options["subscriptions"]])
    if options["app"] is not None:
        subscriptions = subscriptions.filter(app=find_app(options["app"]))
    if options["repository"] is not None:
        subscriptions = subscriptions.filter(repository=find_repository(options["repository"]))
    return subscriptions


def find_app(name_or_id: str) -> App:
    try:
        return App.objects.named(name_or_id)
    except App.DoesNotExist:
        raise Refused("not_found", f"There is no app {name_or_id!r}; `manage.py app_add` adds one.") from None


def find_repository(name_or_id: str) -> Repository:
    try:
        return Repository.objects.named(name_or_id)
    except Repository.DoesNotExist:
        message = f"There is no repository {name_or_id!r}; `manage.py repository_add` adds one."
        raise Refused("not_found", message) from None


def find_subscription(name_or_id: str) -> Subscription:
    try:
        return Subscription.objects.named(name_or_id)
    except Subscription.DoesNotExist:
        raise Refused("not_found", f"There is no subscription {name_or_id!r}. {LISTED}") from None

"""What the demo leaves behind when it ends."""

import pytest

from syncsvc.delivery.signing import new_secret
from syncsvc.management.demo_watch import Facts, put_away, subscribed
from syncsvc.models import Repository
from tests.factories import SubscriptionFactory

FACTS = Facts(
    url="/srv/repo",
    branch="main",
    receiver_port=1,
    receiver_is_new=False,
    secret=new_secret(),
    console="",
    login="",
    log_dir="",
    check=False,
    timeout=1,
)


@pytest.mark.django_db
def test_what_only_the_demo_can_reach_is_paused_until_the_next_one() -> None:
    subscription = subscribed(FACTS)
    put_away(FACTS)

    subscription.refresh_from_db()
    assert not subscription.app.is_active
    assert "make demo" in subscription.app.pause_reason
    assert not subscription.repository.is_active

    again = subscribed(FACTS)
    assert again == subscription
    assert not Repository.objects.filter(is_active=False).exists()
    assert not again.paused


@pytest.mark.django_db
def test_a_repository_that_another_app_follows_goes_on() -> None:
    repository = subscribed(FACTS).repository
    SubscriptionFactory(repository=repository)

    put_away(FACTS)

    repository.refresh_from_db()
    assert repository.is_active

import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from django.core.cache import caches
from django.core.cache.backends.locmem import LocMemCache
from django.test import Client
from redis.exceptions import RedisError

PASSWORD = "open sesame, please"
type LogIn = Callable[..., Any]


@pytest.fixture(autouse=True)
def quick_hashes(settings: Any) -> None:
    """Each guess costs a third of a second otherwise; tests/management/test_prepare.py has the real ones."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def operator(db: None) -> str:
    """The name of somebody with PASSWORD, whom no other test has."""
    from django.contrib.auth.models import User

    name = f"operator-{uuid.uuid4().hex[:8]}"
    User.objects.create_superuser(name, password=PASSWORD)
    return name


@pytest.fixture
def log_in(settings: Any) -> LogIn:
    """Sends the console's login form; three failures are too many. Each test counts for itself."""
    settings.LOGIN_FAILURES = 3
    LocMemCache("failed-logins", {}).clear()
    with suppress(RedisError):
        caches["logins"].clear()

    def send(name: str, password: str, *, client: Client | None = None, address: str = "192.0.2.1", **more: str) -> Any:
        form = {"username": name, "password": password}
        return (client or Client()).post("/admin/login/?next=/admin/", form, REMOTE_ADDR=address, headers=more)

    return send


@pytest.fixture
def no_redis(settings: Any) -> Iterator[None]:
    """Redis is gone, for sessions and for the counting of failures."""
    from axes.handlers.proxy import AxesProxyHandler  # not before Django is set up

    gone = "redis://127.0.0.1:1/0"
    before = settings.CACHES
    settings.CACHES = {name: {**cache, "LOCATION": gone} for name, cache in before.items()}
    AxesProxyHandler.get_implementation(force=True)
    yield
    settings.CACHES = before
    AxesProxyHandler.get_implementation(force=True)

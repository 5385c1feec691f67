from collections.abc import Callable

import pytest
from django.test import Client


@pytest.fixture
def console(admin_client: Client) -> Client:
    """A client that is logged in as a superuser."""
    return admin_client


@pytest.fixture
def staff(db: None) -> Callable[..., Client]:
    """Makes a client that is logged in as staff with these permissions of syncsvc."""
    from django.contrib.auth.models import Permission, User  # not before Django is set up

    def log_in(*codenames: str) -> Client:
        user = User.objects.create_user(f"staff-{'-'.join(codenames)}", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames, content_type__app_label="syncsvc"))
        client = Client()
        client.force_login(user)
        return client

    return log_in

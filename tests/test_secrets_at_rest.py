"""No secret is in a statement of SQL, a row, a key of Redis or a core dump."""

import resource
import subprocess
import sys
from typing import Any

import pytest
from django.conf import settings
from django.core.cache import caches
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from syncsvc.logins.one_time import new_password
from syncsvc.models import ApiToken, App, Repository
from tests import factories
from tests.keys import private_key

pytestmark = pytest.mark.django_db

SIGNING, TOKEN, PASSWORD = f"whsec_{'QUJD' * 8}", "t0psecrett0ken", "nobody guesses this"
KEYSCAN = "git.example.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"


def test_no_statement_has_one(client: Client, django_user_model: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """What `pg_stat_activity` shows while a statement runs, and PostgreSQL's log where one is slow or fails."""
    django_user_model.objects.create_superuser("ann", password=PASSWORD)
    key = private_key()
    with CaptureQueriesContext(connection) as queries:
        client.post("/admin/login/?next=/admin/", {"username": "ann", "password": PASSWORD})
        session = client.cookies["sessionid"].value
        values = factories.app_form(name="shop", url="https://example.com/", new_secret=SIGNING)
        client.post(reverse("admin:syncsvc_app_add"), values)
        page = reverse("admin:syncsvc_app_change", args=[App.objects.get().pk])
        shown = client.get(page).text
        rotated = client.post(reverse("admin:syncsvc_app_rotate", args=[App.objects.get().pk]), follow=True).text
        values = {"name": "r", "url": "https://e.com/a/b", "is_active": "on", "username": "u", "new_token": TOKEN}
        client.post(reverse("admin:syncsvc_repository_add"), values)
        values = {"name": "s", "url": "git@git.example.com:a/b", "is_active": "on", "known_hosts": KEYSCAN}
        client.post(reverse("admin:syncsvc_repository_add"), {**values, "new_ssh_key": key})
        made = {"name": "script", "scopes": ["read"], "user": str(django_user_model.objects.get().pk)}
        later = {"expires_at_0": "2099-01-01", "expires_at_1": "00:00:00"}
        client.post(reverse("admin:syncsvc_apitoken_add"), {**made, **later})
        token = shown_secret(
            client.get(reverse("admin:syncsvc_apitoken_change", args=[ApiToken.objects.get().pk])).text
        )
        assert Client().get("/admin/api/operations", headers={"Authorization": f"Bearer {token}"}).status_code == 200
        own = new_password()
        form = {"old_password": PASSWORD, "new_password1": own, "new_password2": own}
        client.post("/admin/password_change/", form)
        call_command("one_time_password", "ann", "--yes")
        given = capsys.readouterr().out.split()[-1]
        Client().post("/admin/login/", {"username": "ann", "password": given})
        sessions = {session, client.cookies["sessionid"].value}
        client.post("/admin/logout/")

    assert Repository.objects.count() == 2
    secrets = {SIGNING, TOKEN, PASSWORD, key.splitlines()[2], token, own, given, *sessions}
    secrets |= {shown_secret(shown), shown_secret(rotated)}
    assert len(secrets) == 10
    statements = "\n".join(query["sql"] for query in queries)
    assert "django_session" in statements
    assert "syncsvc_apitoken" in statements
    assert {secret for secret in secrets if secret in statements} == set()


def shown_secret(page: str) -> str:
    return page.partition('<code class="secret">')[2].partition("</code>")[0]


def test_a_session_is_stored_under_a_hash_and_ends_with_its_logout(client: Client, admin_user: Any) -> None:
    client.force_login(admin_user)
    key = client.cookies["sessionid"].value
    assert client.get("/admin/nothing/").status_code == 404
    copies = caches[settings.SESSION_CACHE_ALIAS]
    with connection.cursor() as cursor:
        cursor.execute("SELECT session_key FROM django_session")
        ((stored,),) = cursor.fetchall()
    assert stored != key
    thief = Client()
    thief.cookies["sessionid"] = stored
    assert thief.get("/admin/").status_code == 302
    prefix = "django.contrib.sessions.cached_db"
    assert (copies.get(prefix + stored) is not None, copies.get(prefix + key)) == (True, None)
    client.post("/admin/logout/")
    thief.cookies["sessionid"] = key
    assert thief.get("/admin/").status_code == 302
    assert copies.get(prefix + stored) is None


@pytest.mark.parametrize("key", ["", "x", "\xe4" * 8, "a" * 5_000, "'; --", "\x00" * 10])
def test_a_cookie_that_is_no_key_is_nobody_s(key: str, client: Client, db: None) -> None:
    client.cookies["sessionid"] = key
    assert client.get("/admin/").status_code == 302


def test_no_process_of_ours_nor_git_writes_a_core_dump() -> None:
    assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
    child = "import resource; print(resource.getrlimit(resource.RLIMIT_CORE))"
    assert subprocess.run([sys.executable, "-c", child], capture_output=True, text=True).stdout.strip() == "(0, 0)"

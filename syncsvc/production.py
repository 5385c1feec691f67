"""What `manage.py check --deploy` says of settings that are unsafe where others reach the console.

Django's own deployment checks say the rest: DEBUG, a short SECRET_KEY, cookies and HSTS without HTTPS.
"""

import os
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import DatabaseError, connection

from config.proxy import PROXY_SEEN

LOOPBACK = {"127.0.0.1", "localhost", "[::1]", "::1"}
LONGEST_SESSION = 24 * 3600
MOST_FAILURES = 100
SHORTEST_WAIT = 60
# A network that begins before these bits is somebody else's, too; 10.0.0.0/8 and fc00::/7 are the largest private ones.
WIDEST = {4: 8, 6: 7}
SECRETS = {"SECRET_KEY", "ENCRYPTION_KEYS", "DATABASE_URL", "DATABASE_OWNER_URL", "REDIS_URL", "EGRESS_PROXY"}
CONTAINER_SECRETS = Path("/run/secrets")
# What other programs take a proxy from.
PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
# Where clouds hand their machines' credentials to whoever asks.
METADATA = ("169.254.169.254/32", "fd00:ec2::254/128")


def reachable() -> bool:
    """Whether the console answers to a name that other machines know it by."""
    return any(host not in LOOPBACK for host in settings.ALLOWED_HOSTS)


@register(Tags.security, deploy=True)
def check_debug(**_: Any) -> list[CheckMessage]:
    if not (settings.DEBUG and reachable()):
        return []
    hint = "Unset DEBUG: its error pages show settings, queries and source code to whoever causes an error."
    return [Error("DEBUG is on, and ALLOWED_HOSTS has more than this machine.", hint=hint, id="syncsvc.E006")]


@register(Tags.security, deploy=True)
def check_hosts(**_: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    if any(host == "*" or host.startswith(".") for host in settings.ALLOWED_HOSTS):
        hint = "Name the console's own host: a forged Host header ends in links and redirects."
        found.append(Error("ALLOWED_HOSTS takes any host.", hint=hint, id="syncsvc.E007"))
    if reachable() and not settings.HTTPS:
        hint = "Put a TLS proxy in front and set HTTPS=1: passwords and sessions travel in the clear now."
        found.append(Error("HTTPS is off, and ALLOWED_HOSTS has more than this machine.", hint=hint, id="syncsvc.E008"))
    plain = [origin for origin in settings.CSRF_TRUSTED_ORIGINS if not origin.startswith("https://")]
    if plain and reachable():
        hint = "Write https:// origins: whoever sits on the network can speak for the others."
        found.append(Warning(f"CSRF_TRUSTED_ORIGINS trusts {plain[0]}.", hint=hint, id="syncsvc.W003"))
    return found


@register(Tags.security, deploy=True)
def check_proxies(**_: Any) -> list[CheckMessage]:
    """A proxy is there where HTTPS is, where it changes the host, or where requests said so within a day."""
    signs = {"HTTPS is on": settings.HTTPS, "CSRF_TRUSTED_ORIGINS is set": bool(settings.CSRF_TRUSTED_ORIGINS)}
    signs["requests come through a proxy"] = not settings.PROXIES and bool(cache.get(PROXY_SEEN))
    sign = next((text for text, there in signs.items() if there), "")
    if settings.PROXIES or not sign:
        return []
    hint = (
        "Set PROXIES to the number of proxies in front that append to X-Forwarded-For: all clients look like one now,"
        " and somebody who guesses passwords locks everybody out."
    )
    return [Warning(f"PROXIES is 0, and {sign}.", hint=hint, id="syncsvc.W002")]


@register(Tags.security, deploy=True)
def check_logins(**_: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    if settings.SESSION_COOKIE_AGE > LONGEST_SESSION:
        hint = "Let it be at most 86400 (a day): a forgotten browser stays logged in."
        found.append(Warning("SESSION_SECONDS is more than a day.", hint=hint, id="syncsvc.W004"))
    most = max(settings.LOGIN_FAILURES, settings.LOGIN_NAME_FAILURES, settings.LOGIN_ADDRESS_FAILURES)
    if most > MOST_FAILURES or settings.LOGIN_WAIT_SECONDS < SHORTEST_WAIT:
        hint = "The defaults, 10 and 20 failures and 900 s, let nobody guess a password."
        message = "LOGIN_…FAILURES and LOGIN_WAIT_SECONDS hardly slow down whoever guesses passwords."
        found.append(Warning(message, hint=hint, id="syncsvc.W005"))
    return found


@register(Tags.security, deploy=True)
def check_networks(**_: Any) -> list[CheckMessage]:
    """Those that are no networks are another check's affair."""
    webhooks = [("WEBHOOK_ALLOWED_NETWORKS", "apps", "an app", text) for text in settings.WEBHOOK_ALLOWED_NETWORKS]
    git = [("GIT_ALLOWED_NETWORKS", "git hosts", "a repository", text) for text in settings.GIT_ALLOWED_NETWORKS]
    found: list[CheckMessage] = []
    for setting, residents, thing, text in (*webhooks, *git):
        hint = f"Name the few networks that {residents} are in, such as 10.1.0.0/16."
        try:
            network = ip_network(text)
        except ValueError:
            continue
        if network.prefixlen < WIDEST[network.version]:
            message = f"{setting} has {text}, which is nearly everything."
            found.append(Warning(message, hint=hint, id="syncsvc.W006"))
        elif any(network.overlaps(ip_network(one)) for one in METADATA if ip_network(one).version == network.version):
            message = f"{setting} has {text}, where clouds hand out credentials."
            found.append(Warning(message, hint=hint, id="syncsvc.W007"))
        elif network.is_loopback and reachable():
            message = f"{setting} has {text}: whoever may add {thing} reaches this machine's own services."
            found.append(Warning(message, hint=hint, id="syncsvc.W008"))
    return found


@register(Tags.security, deploy=True)
def check_proxy_variables(**_: Any) -> list[CheckMessage]:
    if settings.EGRESS_PROXY or not (found := sorted(set(PROXY_VARIABLES) & set(os.environ))):
        return []
    hint = "Set EGRESS_PROXY where webhooks and git must go through a proxy; else unset the variable here."
    message = f"{found[0]} is set, which neither webhooks nor git obey."
    return [Warning(message, hint=hint, id="syncsvc.W015")]


@register(Tags.security, deploy=True)
def check_secret_files(**_: Any) -> list[CheckMessage]:
    named = [Path(file) for name, file in os.environ.items() if name.endswith("_FILE") and name[:-5] in SECRETS]
    found: list[CheckMessage] = []
    for file in (settings.DATA_DIR / "env", *named):
        # What is mounted into a container there can be read by its one user, whatever number they have outside.
        if file.parent != CONTAINER_SECRETS and file.is_file() and file.stat().st_mode & 0o077:
            message = f"{file} has secrets, and others may read it."
            found.append(Warning(message, hint=f"chmod 600 {file}", id="syncsvc.W009"))
    return found


@register(Tags.security, deploy=True)
def check_database_role(**_: Any) -> list[CheckMessage]:
    """A database that does not answer is told elsewhere."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
            is_superuser = cursor.fetchone() == (True,)
    except DatabaseError:
        return []
    if not is_superuser:
        return []
    hint = "Make this DATABASE_OWNER_URL, for `migrate` alone; DATABASE_URL is another role, which `migrate` makes."
    message = "The role of DATABASE_URL is a superuser, who may read the server's files and run programs there."
    return [Warning(message, hint=hint, id="syncsvc.W016")]

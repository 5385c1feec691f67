"""System checks: bad configuration, said before it does harm."""

from typing import Any

from cryptography.fernet import Fernet
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from syncsvc.delivery.authorities import missing_authorities
from syncsvc.egress.addresses import AddressPolicy
from syncsvc.egress.ports import PortPolicy
from syncsvc.egress.proxy import read_proxy
from syncsvc.exceptions import InvalidCredentialError
from syncsvc.git.authorities import read_certificates
from syncsvc.git.version import git_version, too_old

# Those of our own, which commands, workers and the scheduler run; `manage.py check` runs all there are.
OURS = "syncsvc"


@register(OURS)
def check_encryption_keys(**_: Any) -> list[CheckMessage]:
    make_one = "from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())"
    hint = f"`make up` makes one; or: python -c '{make_one}'"
    if not settings.ENCRYPTION_KEYS:
        return [Error("ENCRYPTION_KEYS is empty: secrets could not be stored.", hint=hint, id="syncsvc.E001")]
    for number, key in enumerate(settings.ENCRYPTION_KEYS, start=1):
        try:
            Fernet(key)
        except ValueError:
            return [Error(f"Key {number} of ENCRYPTION_KEYS is no Fernet key.", hint=hint, id="syncsvc.E002")]
    return []


@register(OURS)
def check_allowed_networks(**_: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    for name in ("WEBHOOK_ALLOWED_NETWORKS", "GIT_ALLOWED_NETWORKS"):
        try:
            AddressPolicy(getattr(settings, name))
        except ValueError as error:
            hint = "Write CIDRs separated by commas, such as 10.1.0.0/16,fd00:1::/64."
            found.append(Error(f"{name}: {error}", hint=hint, id="syncsvc.E003"))
    try:
        PortPolicy(settings.GIT_ALLOWED_PORTS)
    except ValueError as error:
        hint = "Write numbers separated by commas, such as 22,443,9418, or * for any port."
        found.append(Error(f"GIT_ALLOWED_PORTS: {error}", hint=hint, id="syncsvc.E013"))
    try:
        AddressPolicy((), settings.NAT64_PREFIXES)
    except ValueError as error:
        hint = "Write the prefixes of your network's NAT64 separated by commas, or leave NAT64_PREFIXES empty."
        found.append(Error(f"NAT64_PREFIXES: {error}", hint=hint, id="syncsvc.E012"))
    return found


@register(OURS)
def check_egress_proxy(**_: Any) -> list[CheckMessage]:
    try:
        read_proxy(settings.EGRESS_PROXY)
    except ValueError as error:
        hint = "Name an HTTP proxy that takes CONNECT, or leave EGRESS_PROXY empty to connect directly."
        return [Error(f"EGRESS_PROXY: {error}", hint=hint, id="syncsvc.E015")]
    return []


@register(OURS)
def check_authorities(**_: Any) -> list[CheckMessage]:
    if not (problem := missing_authorities()):
        return []
    hint = "Name a file of certificates (PEM), or unset it to trust the system's authorities."
    return [Error(f"SSL_CERT_FILE: {problem}: no webhook over TLS could be sent.", hint=hint, id="syncsvc.E011")]


@register(OURS)
def check_leases(**_: Any) -> list[CheckMessage]:
    problems: list[CheckMessage] = []
    if settings.LEASE_RENEW_SECONDS * 3 > settings.LEASE_SECONDS:
        hint = "Let a lease be at least three times as long as the pause between two renewals."
        problems.append(Error("LEASE_RENEW_SECONDS is too long for LEASE_SECONDS.", hint=hint, id="syncsvc.E004"))
    if settings.WEBHOOK_TIMEOUT + settings.LEASE_RENEW_SECONDS >= settings.LEASE_SECONDS:
        hint = "A request must be over before its lease can end: lower WEBHOOK_TIMEOUT or raise LEASE_SECONDS."
        problems.append(Error("WEBHOOK_TIMEOUT is too long for LEASE_SECONDS.", hint=hint, id="syncsvc.E005"))
    return problems


@register(OURS)
def check_certificates_for_git(**_: Any) -> list[CheckMessage]:
    try:
        if settings.GIT_CA_FILE:
            read_certificates(settings.GIT_CA_FILE)
    except InvalidCredentialError as error:
        hint = "Name a file of CA certificates in PEM form, or leave GIT_CA_FILE empty for the public ones alone."
        return [Error(f"GIT_CA_FILE: {error}", hint=hint, id="syncsvc.E010")]
    return []


@register(OURS, deploy=True)
def check_git_version(**_: Any) -> list[CheckMessage]:
    problem = too_old(git_version())
    return [Error(problem, hint="No remote is asked by an older one.", id="syncsvc.E014")] if problem else []


@register(OURS, deploy=True)
def check_local_remotes(**_: Any) -> list[CheckMessage]:
    if not settings.GIT_ALLOW_LOCAL:
        return []
    hint = "Unset GIT_ALLOW_LOCAL unless everyone who may add a repository may read this machine's files."
    return [Warning("GIT_ALLOW_LOCAL lets repositories be read from local paths.", hint=hint, id="syncsvc.W001")]

"""How git reaches a remote over ssh: one key, pinned hosts, nothing else of this machine's ssh."""

import os
import shlex
from pathlib import Path

from syncsvc.exceptions import GitError, InvalidCredentialError
from syncsvc.git.errors import MAX_MESSAGE
from syncsvc.git.known_hosts import Pinned
from syncsvc.git.ssh_key import check_private_key, is_rsa
from syncsvc.types import ErrorKind

_RSA = (
    " (The key is an RSA key: a server that takes only ssh-rsa signatures, which ssh refuses to make as unsafe, answers"
    " so as well; then give an Ed25519 key.)"
)


def ssh_environment(
    private_key: str, pinned: Pinned, folder: Path, *, address: str, connect_timeout: float, command: str = ""
) -> dict[str, str]:
    """Puts key, the pinned host's lines and ssh's configuration into this private folder, in place of earlier ones.

    ssh connects to `address` whatever the host in the URL is, within `connect_timeout` seconds. All that comes from
    outside stands in the configuration file: the command, which git gives to a shell, names that file alone. A
    `command` stands in place of the connection.
    """
    key, known_hosts, config = folder / "key", folder / "known_hosts", folder / "config"
    _write(key, _readable(private_key))
    _write(known_hosts, pinned.lines)
    options = {
        "HostName": _escaped(address),
        "HostKeyAlias": pinned.alias,
        "CheckHostIP": "no",
        "IdentityFile": _quoted(key),
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "BatchMode": "yes",
        "PreferredAuthentications": "publickey",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": _quoted(known_hosts),
        "GlobalKnownHostsFile": os.devnull,
        "UpdateHostKeys": "no",
        "ConnectTimeout": str(max(1, int(connect_timeout))),
        "ServerAliveInterval": "15",
        "ForwardAgent": "no",
        "ClearAllForwardings": "yes",
        "PermitLocalCommand": "no",
        "ControlPath": "none",
        "LogLevel": "INFO",  # below it ssh keeps to itself why it cannot come to terms with a server
    }
    if command:
        options["ProxyCommand"] = command
    _write(config, "\n".join(f"{name} {value}" for name, value in options.items()))
    return {"GIT_SSH_COMMAND": shlex.join(["ssh", "-F", str(config)]), "GIT_SSH_VARIANT": "ssh"}


def _write(file: Path, text: str) -> None:
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as stream:
        stream.write(text.replace("\r\n", "\n").strip("\n") + "\n")


def _escaped(text: str) -> str:
    """ssh replaces what follows a percent sign, as in the scope of fe80::1%eth0."""
    return text.replace("%", "%%")


def _quoted(file: Path) -> str:
    return f'"{_escaped(str(file))}"'


def _readable(private_key: str) -> str:
    """A key that was stored before keys were checked may be in a form that OpenSSH before 9.6 does not read."""
    if not private_key.lstrip().startswith("-----BEGIN PRIVATE KEY-----"):
        return private_key
    try:
        return check_private_key(private_key)
    except InvalidCredentialError:  # which is explained where ssh is refused
        return private_key


def explain_refusal(error: GitError, private_key: str) -> GitError:
    """Of a key that cannot be used ssh says only that it was refused: the key itself tells why."""
    if "Permission denied" not in str(error) and "Load key" not in str(error):
        return error
    try:
        key = check_private_key(private_key)
    except InvalidCredentialError as reason:
        return GitError(ErrorKind.GIT_AUTH, f"ssh cannot use the private key. {reason}")
    sentence, said, words = str(error).partition(" git said: ")
    return GitError(error.kind, f"{sentence}{_RSA if is_rsa(key) else ''}{said}{words}"[:MAX_MESSAGE])

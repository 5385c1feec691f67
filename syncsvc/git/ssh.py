"""How git reaches a remote over ssh: one key, pinned hosts, nothing else of this machine's ssh."""

import os
import shlex
from pathlib import Path


def ssh_environment(private_key: str, pinned: str, folder: Path, *, connect_timeout: float) -> dict[str, str]:
    """Puts the key and the pinned hosts' lines into this private folder; `connect_timeout` is in seconds."""
    key, known_hosts = folder / "key", folder / "known_hosts"
    for file, text in ((key, private_key), (known_hosts, pinned)):
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
            stream.write(text.replace("\r\n", "\n").strip("\n") + "\n")
    options = {
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "BatchMode": "yes",
        "PreferredAuthentications": "publickey",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": str(known_hosts),
        "GlobalKnownHostsFile": os.devnull,
        "UpdateHostKeys": "no",
        "ConnectTimeout": str(max(1, int(connect_timeout))),
        "ServerAliveInterval": "15",
        "ForwardAgent": "no",
        "ClearAllForwardings": "yes",
        "PermitLocalCommand": "no",
        "ControlPath": "none",
        "LogLevel": "ERROR",
    }
    words = [
        "ssh",
        "-F",
        os.devnull,
        "-i",
        str(key),
        *(word for pair in options.items() for word in ("-o", "=".join(pair))),
    ]
    return {"GIT_SSH_COMMAND": shlex.join(words), "GIT_SSH_VARIANT": "ssh"}

"""What git is told: settings that are ours alone, and nothing of this machine's."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

_CONFIG = {
    "protocol.allow": "never",
    "protocol.version": "2",
    "core.hooksPath": os.devnull,
    "core.bigFileThreshold": "16m",
    # Caches and threads that fit into the least sensible GIT_MEMORY_BYTES together. index-pack and repack heed them.
    "core.deltaBaseCacheLimit": "32m",
    "pack.threads": "2",
    "pack.windowMemory": "32m",
    "pack.deltaCacheSize": "32m",
    "core.attributesFile": os.devnull,
    "credential.helper": "",
    # For all URLs that no route leads to: a remote may name any in a fetch, and git asks there though it did not offer
    # to (packfile-uris of protocol 2). It is no host's name: nothing is looked up, and nothing is connected to.
    "http.proxy": "http://%20:1",
    "http.emptyAuth": "false",  # else curl tries to log in as whoever this machine's Kerberos says we are
    "gc.auto": "0",
    "maintenance.auto": "false",
    "fetch.recurseSubmodules": "false",
    "submodule.recurse": "false",
    # Off: index-pack checks every object's hash and fetch that all are there. fsck would also refuse many old but
    # readable repositories, and guards against what a checkout could do; nothing is checked out here.
    "fetch.fsckObjects": "false",
}


def proxied(url: str, proxy: str) -> dict[str, str]:
    """What lets git reach the scheme, host and port of this http(s) URL, through a proxy's URL; blank: without one."""
    parts = urlsplit(url)
    return {f"http.{parts.scheme}://{parts.netloc}/.proxy": proxy}


def environment(config: Mapping[str, str | Sequence[str]], *, git_dir: Path | None = None) -> dict[str, str]:
    """What git is told; of our own environment it hears nothing that begins with GIT_.

    A list in `config` stands for a setting that is given several times.
    """
    merged = {**_CONFIG, **config}
    settings = [(key, each) for key, value in merged.items() for each in ([value] if isinstance(value, str) else value)]
    env = {
        "HOME": "/nonexistent",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "",
        "SSH_ASKPASS": "",
        "SSH_AUTH_SOCK": "",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_DEFAULT_REF_FORMAT": "files",
        "GIT_DIR": str(git_dir or os.devnull),
        "GIT_CONFIG_COUNT": str(len(settings)),
    }
    for index, (key, value) in enumerate(settings):
        env[f"GIT_CONFIG_KEY_{index}"] = key
        env[f"GIT_CONFIG_VALUE_{index}"] = value
    return env

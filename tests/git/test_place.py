"""The host and port that are checked are those that git connects to, however the URL is written."""

import os
import re
import subprocess
from itertools import product
from pathlib import Path

import pytest

from syncsvc.exceptions import InvalidUrlError
from syncsvc.git.url import check_url, place_of, scheme_of

HOSTS = ["a.example", "1.2.3.4", "[::1]", "[::ffff:1.2.3.4]", "[1.2.3.4:99]", "[dead:99]", "[a]", "[::1"]
USERS = ["", "git@", "u:p@"]
PATHS = ["x", "[a]:99/x", "x@y:99", "x@[::1]:99/y", "x%40%5Ba%5D:99/y", "x@%5B1.2.3.4]:99/y", "x%2540[a]:99/y", "@[x"]
FORMS = ["{user}{host}:{path}", "ssh://{user}{host}/{path}", "ssh://{host}:77/{path}", "git://{host}:77/{path}"]


def accepted() -> list[str]:
    found = []
    for form, user, host, path in product(FORMS, USERS, HOSTS, PATHS):
        try:
            found.append(check_url(form.format(user=user, host=host, path=path), allow_local=False))
        except InvalidUrlError:
            continue
    return list(dict.fromkeys(found))


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """Stands for ssh and for a connection; says which words it was given."""
    file = tmp_path / "program"
    file.write_text("#!/bin/sh\nprintf '<%s>' \"$@\" >&2\nexit 1\n")
    file.chmod(0o755)
    return file


def asked_for(url: str, program: Path) -> tuple[str, int]:
    """Where git wants to connect to."""
    env = {"PATH": os.environ["PATH"], "GIT_SSH_COMMAND": str(program), "GIT_SSH_VARIANT": "ssh"}
    git = ["git", "-c", f"core.gitProxy={program}", "ls-remote", "--", url]
    words = re.findall("<(.*?)>", subprocess.run(git, env=env, capture_output=True, text=True, check=False).stderr)
    if scheme_of(url) == "git":
        return words[0].strip("[]"), int(words[1])
    *options, where, _ = words
    port = int(options[options.index("-p") + 1]) if "-p" in options else 22
    return where.rpartition("@")[2].strip("[]"), port


def test_git_connects_to_what_is_checked(program: Path) -> None:
    urls = accepted()
    assert len(urls) > 50
    assert {url: asked_for(url, program) for url in urls} == {url: place_of(url) for url in urls}

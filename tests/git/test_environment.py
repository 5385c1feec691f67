"""What git, its helpers and ssh hear of this process's environment: a list of names, none of which holds a secret."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from syncsvc.exceptions import GitError
from syncsvc.git.bounds import Bounds
from syncsvc.git.environment import environment
from syncsvc.git.launch import KEPT, command_line
from syncsvc.git.process import Context, GitProcess, run
from syncsvc.git.remote import Remote, SshCredential, remote_head
from syncsvc.git.version import MINIMUM_VERSION
from tests.git.conftest import LIMITS
from tests.gitrepo import GitRepo

SECRET = "s3cr3t-of-syncsvc"
OURS = (
    "SECRET_KEY",
    "ENCRYPTION_KEYS",
    "DATABASE_URL",
    "REDIS_URL",
    "PGPASSWORD",
    "API_TOKEN",
    "https_proxy",
    "ALL_PROXY",
    "SSH_AUTH_SOCK",
    "SSH_ASKPASS",
    "SSH_ASKPASS_REQUIRE",
    "GIT_ASKPASS",
    "GIT_SSH",
    "GIT_PROXY_COMMAND",
    "GIT_CONFIG_PARAMETERS",
    "XDG_CONFIG_HOME",
    "UID",
    "SHELLOPTS",
    "BASH_FUNC_git%%",
    "odd-name",
    "with space",
)
# What the programs themselves add: the shell, and git for its helpers.
ADDED = {"PWD", "OLDPWD", "_", "SHLVL", "GIT_PROTOCOL", "GIT_EXEC_PATH", "GIT_PREFIX", "LANGUAGE", "LC_ALL"}
# What git is told to trace, and what it names itself there: the trace is read here alone.
TRACES = {"GIT_TRACE2_EVENT", "GIT_TRACE2_PARENT_SID", "GIT_TRACE2_PARENT_NAME"}

NUMBERED = re.compile(r"GIT_CONFIG_(KEY|VALUE)_\d+")


@pytest.fixture(autouse=True)
def _secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in OURS:
        monkeypatch.setenv(name, SECRET)


def names_of(environ: bytes) -> set[str]:
    assert SECRET.encode() not in environ
    return {pair.partition(b"=")[0].decode() for pair in environ.split(b"\0") if pair}


def allowed() -> set[str]:
    return {*KEPT, *ADDED, *environment({}), "SSH_ASKPASS", "SSH_AUTH_SOCK", "GIT_ASKPASS"}


def watched(folder: Path, monkeypatch: pytest.MonkeyPatch, program: str) -> Path:
    """The file that gets the environment of the program each time that it is started."""
    found, file = folder / f"{program}.environ", folder / "bin" / program
    file.parent.mkdir(exist_ok=True)
    real = shutil.which(program)
    file.write_text(f'#!/bin/sh\ntr "\\0" "\\n" </proc/$$/environ >>{found}\nexec {real} "$@"\n')
    file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{file.parent}:{os.environ['PATH']}")
    return found


def test_a_git_hears_what_is_on_the_list_and_what_is_told_it(repo: GitRepo) -> None:
    context = Context(env=environment({}, git_dir=repo.path), timeout=30)
    with GitProcess(["cat-file", "--batch"], context, talks=True) as process:
        pid = process._process.pid
        process.write(b"HEAD\n")
        assert process.read_line() == b"HEAD missing", "git runs, and no longer its shell"
        environ = Path(f"/proc/{pid}/environ").read_bytes()
    names = {name for name in names_of(environ) if not NUMBERED.fullmatch(name)}
    assert {"PATH", "HOME", "GIT_DIR"} <= names <= allowed()
    assert b"\0HOME=/nonexistent\0" in b"\0" + environ
    assert b"\0SSH_AUTH_SOCK=\0" in b"\0" + environ


def test_ssh_hears_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = watched(tmp_path, monkeypatch, "ssh")
    with pytest.raises(GitError):
        remote_head(
            Remote("git@127.0.0.1:a/b", credential=SshCredential("no key", "127.0.0.1 ssh-ed25519 AAAA")), LIMITS
        )
    lines = found.read_bytes().replace(b"\n", b"\0")
    told = {name for name in names_of(lines) if not NUMBERED.fullmatch(name)}
    assert told <= allowed() | TRACES | {"GIT_SSH_COMMAND", "GIT_SSH_VARIANT"}
    assert b"SSH_ASKPASS=\0" in lines
    assert b"DISPLAY" not in lines


def test_the_git_that_is_asked_for_its_version_hears_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when GitPython is imported, which is in a process of its own here."""
    found = watched(tmp_path, monkeypatch, "git")
    program = "from syncsvc.git.version import git_version; print(git_version())"
    said = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert tuple(map(int, re.findall("[0-9]+", said))) >= MINIMUM_VERSION
    told = {name for name in names_of(found.read_bytes().replace(b"\n", b"\0")) if not NUMBERED.fullmatch(name)}
    assert {"PATH", "GIT_DIR"} <= told <= allowed()


def test_no_value_of_the_environment_is_among_the_words_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    words = command_line(["version"], {}, Bounds(memory_bytes=1 << 30, cpu_seconds=9, file_bytes=1 << 20))
    assert SECRET not in " ".join(words)


@pytest.mark.parametrize(
    "bounds", [Bounds(), Bounds(memory_bytes=1 << 30, cpu_seconds=60, file_bytes=1 << 30, refs_bytes=1 << 20)]
)
def test_git_runs_with_and_without_limits(bounds: Bounds) -> None:
    context = Context(env=environment({}), timeout=30, bounds=bounds)
    assert run(["version"], context).startswith(b"git version")
    odd = "'; exit 7; \" $(exit 7) \\\n*"
    assert run(["-c", "alias.say=!printf %s", "say", odd], context).decode() == odd


def test_a_limit_that_the_system_refuses_is_passed_over() -> None:
    """As where the system has it lower already, or not at all."""
    context = Context(env=environment({}), timeout=30, bounds=Bounds(memory_bytes=1 << 80, cpu_seconds=1 << 80))
    assert run(["version"], context).startswith(b"git version")


def test_a_worker_without_git_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GitError, match="git is not installed on this worker"):
        run(["version"], Context(env={}, timeout=30))

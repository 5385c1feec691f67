"""Mirrors in tests: where a branch stands, a mirror's contents, and a fetch by another process."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from syncsvc.git.blobs import BlobReader
from syncsvc.git.manifest import read_manifest
from syncsvc.git.mirror import Mirror
from syncsvc.git.remote import Remote, remote_head
from syncsvc.types import RemoteHead
from tests.git.conftest import LIMITS
from tests.gitrepo import GitRepo

type MakeMirror = Callable[..., Mirror]

ROOT = Path(__file__).resolve().parents[2]
FETCH = """
import sys
from pathlib import Path
from syncsvc.git.mirror import Mirror
from syncsvc.git.remote import GitLimits, Remote, remote_head
from syncsvc.git.route import git_egress
egress = git_egress(["127.0.0.0/8"], ["*"])
remote, limits = Remote(sys.argv[2]), GitLimits(timeout=60, allow_local=True, egress=egress)
print(Mirror(Path(sys.argv[1]), remote, limits).fetch(remote_head(remote, limits), wait=30))
"""


def head_of(repo: GitRepo) -> RemoteHead:
    return remote_head(Remote(repo.url), LIMITS)


def contents(mirror: Mirror, commit: str) -> dict[bytes, tuple[str, bytes]]:
    with mirror.reading(), BlobReader(mirror) as blobs:
        entries = [entry for entry in read_manifest(mirror, commit) if entry.mode != "160000"]
        blobs.request([entry.blob for entry in entries])
        return {entry.path: (entry.mode, blobs.read()) for entry in entries}


def fetching_process(mirror: Mirror, url: str) -> "subprocess.Popen[bytes]":
    arguments = [sys.executable, "-c", FETCH, str(mirror.path), url]
    return subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

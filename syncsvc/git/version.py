"""The version of the git on this machine."""

import re
from functools import cache

from syncsvc.exceptions import GitError
from syncsvc.git.environment import environment
from syncsvc.git.process import Context, run

MINIMUM_VERSION = (2, 37)  # http.curloptResolve; cat-file --batch-command is older
# With more behind it on some systems: "2.39.5 (Apple Git-154)", "2.37.1.windows.1", "2.55.0-rc1".
_VERSION = re.compile(rb"git version ([0-9]+(?:\.[0-9]+)*)")
_SECONDS = 60.0


@cache
def git_version() -> tuple[int, ...]:
    """Asked once a process; empty where there is no git, or none that tells."""
    try:
        said = run(["version"], Context(env=environment({}), timeout=_SECONDS))
    except GitError:
        return ()
    match = _VERSION.match(said)
    return tuple(int(number) for number in match[1].split(b".")) if match else ()


def too_old(version: tuple[int, ...]) -> str:
    """What is said of a git of this version; blank for one that will do. An older one ignores settings it is given."""
    if not version or version >= MINIMUM_VERSION:
        return ""
    found, needed = (".".join(map(str, numbers)) for numbers in (version, MINIMUM_VERSION))
    return f"git {found} on this worker is too old; install git {needed} or newer."

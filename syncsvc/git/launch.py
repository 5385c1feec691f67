"""The command that starts a git: through a shell that takes our environment away, and sets the limits."""

import os
import re
import shutil
from collections.abc import Collection, Sequence

from syncsvc.exceptions import GitError
from syncsvc.git.bounds import Bounds
from syncsvc.types import ErrorKind

# All that a git, ssh or curl hears of this process's environment. None of it can hold a secret, or name a proxy.
# GitPython sets the language.
KEPT = frozenset({
    "PATH", "LANG", "LANGUAGE", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "LD_LIBRARY_PATH",
})  # fmt: skip
# Names that a shell can take away. Some shells have names that are read-only, and end where these are to be unset.
_NAME = re.compile(r"(?!(?:E?UID|PPID|GROUPS|BASH\w*|SHELLOPTS)$)[A-Za-z_][A-Za-z0-9_]*")


def command_line(arguments: Sequence[str], env: Collection[str], bounds: Bounds) -> list[str]:
    """Words that start `git` with these arguments; of the environment it inherits KEPT and the names in `env`.

    No secret is among the words: other users of the machine can read them. A shell sets limits before git runs, and
    for all that git starts; Python's own way (preexec_fn) is not safe where there are threads.
    """
    git = shutil.which("git")
    if git is None:
        raise GitError(ErrorKind.INTERNAL, "git is not installed on this worker; install git 2.37 or newer.")
    foreign = [name for name in os.environ if name not in KEPT and name not in env]
    # Most shells drop what is no name for them; `env` takes the rest away.
    odd = [word for name in foreign if not _NAME.fullmatch(name) for word in ("-u", name)]
    unset = [name for name in foreign if _NAME.fullmatch(name)]
    steps = [f"unset {' '.join(unset)}"] if unset else []
    steps += [f"{{ {step}; }} 2>/dev/null" for step in bounds.commands]
    shell = ["sh", "-c", "; ".join([*steps, 'exec "$0" "$@"']), git, *arguments]
    return ["env", *odd, *shell] if odd else shell

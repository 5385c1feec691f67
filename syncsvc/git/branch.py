"""Which names of branches can be followed: an operator's, and what a remote says that its HEAD is on."""

import re

MAX_LENGTH = 250
# git-check-ref-format(1), for what follows refs/heads/.
_REFUSED = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|(?:^|/)\.|\.lock(?:/|$)|^/|/$|\.$")


def wrong_with_branch(name: str) -> str:
    """Why this cannot be a branch's name; blank if it can."""
    if not name:
        return "it is empty"
    if len(name) > MAX_LENGTH:
        return f"it is longer than {MAX_LENGTH} characters"
    if _REFUSED.search(name):
        return "it has characters or parts that git allows in no branch's name"
    return ""

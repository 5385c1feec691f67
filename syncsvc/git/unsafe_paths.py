"""Paths that lead a careless receiver out of its folder, or into git's own: git itself refuses to check them out.

The rules are those of git's `verify_path` with `core.protectHFS` and `core.protectNTFS`, whatever system this is: a
path is unsafe where it is absolute or has an empty component, `.`, `..`, or a name that some file system takes for
`.git`. A backslash counts as a separator, as on Windows, and is not unsafe by itself: `dev-disk\\x2duuid.mount` is a
file's good name. So is a colon, but for a drive letter at the beginning.
"""

import re
from collections.abc import Sequence

# Code points that HFS+ ignores in names, in UTF-8: U+200C to 200F, 202A to 202E, 206A to 206F, FEFF.
_IGNORED = rb"(?:\xe2\x80[\x8c-\x8f\xaa-\xae]|\xe2\x81[\xaa-\xaf]|\xef\xbb\xbf)*"
_DOT_GIT = _IGNORED + _IGNORED.join([rb"\.", rb"[gG]", rb"[iI]", rb"[tT]"]) + _IGNORED
# NTFS ignores dots and spaces at the end of a name, and what follows a colon: a stream of the file.
_ALIAS = rb"(?:" + _DOT_GIT + rb"|[gG][iI][tT]~1)[. ]*[/\\:\0]"
# Searched in paths that each stand between a slash and a zero byte. What a component must begin with comes first: most
# paths are passed over by that alone.
_UNSAFE = re.compile(rb"[/\\](?=[.gG\xe2\xef/\\\0])(?:\.\.?[/\\\0]|" + _ALIAS + rb"|(?<=/)[/\\]|\0)|\0/[A-Za-z]:")


def is_unsafe(path: bytes) -> bool:
    return _UNSAFE.search(b"\0/%b\0" % path) is not None


def unsafe_among(paths: Sequence[bytes]) -> frozenset[bytes]:
    """The unsafe ones; cheap where there are none."""
    if _UNSAFE.search(b"\0/%b\0" % b"\0/".join(paths)) is None:
        return frozenset()
    return frozenset(filter(is_unsafe, paths))

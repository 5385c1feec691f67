"""Paths that git refuses to check out on some system, and what a receiver on Windows would take for them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncsvc.git.unsafe_paths import is_unsafe, unsafe_among
from tests.gitrepo import GitRepo

NAMES = [
    *(b"..", b".", b"", b".git", b".GIT", b".gIt", b".git.", b".git ", b".git . .", b".git::$INDEX_ALLOCATION"),
    *(b"git~1", b"GIT~1", b"git~1 ", b"git~1:x", ".g\u200cit".encode(), "\ufeff.git".encode(), ".git\u206a".encode()),
    *("\u202a.\u200fG\u200ei\u206fT".encode(), ".g\u200cit.".encode(), ".g\u200cit:x".encode()),
    *(
        b"...",
        b".. ",
        b" ..",
        b".gitignore",
        b".github",
        b"git",
        b"git~2",
        b"xgit~1",
        b"x.git",
        b".git x",
        b".gi",
        b"~",
    ),
    *(
        "\u200c".encode(),
        ".g\u0131t".encode(),
        ".g\u2009it".encode(),
        b"\xe2\x80",
        b"\xff",
        b"aa:b",
        b"a b",
    ),
    *(b"back\\slash", b"x\\.git", b"x\\.GIT\\y", b"x\\git~1", b"x\\.gitx", b"dev-disk\\x2duuid.mount", b"\n", b"a\n.."),
]


def paths() -> list[bytes]:
    """Each name at the beginning, in the middle and at the end; none is below another."""
    return [
        path
        for n, name in enumerate(NAMES)
        for path in (
            b"%b/f%d" % (name, n),
            b"d%d/%b/f" % (n, name),
            b"e%d/%b" % (n, name),
            b"%b/%b/g%d" % (name, name, n),
        )
    ]


def test_what_git_refuses_is_unsafe_and_nothing_else(tmp_path: Path) -> None:
    repo = GitRepo(tmp_path / "r")
    blob = repo.blob(b"x")
    lines = b"".join(b"100644 %b\t%b\0" % (blob.encode(), path) for path in paths())
    protect = ("-c", "core.protectHFS=true", "-c", "core.protectNTFS=true")
    repo.git(*protect, "update-index", "-z", "--index-info", data=lines)
    accepted = repo.git("ls-files", "-z", "--cached").split(b"\0")[:-1]

    # git joins the two protections a name at a time: an ignored code point and a stream in one name pass both.
    both = {path for path in paths() if b"\x8cit." in path or b"\x8cit:" in path}
    safe = {path for path in paths() if not is_unsafe(path)}
    assert (sorted(safe - set(accepted)), sorted(set(accepted) - safe - both)) == ([], [])


@pytest.mark.parametrize(
    ("path", "unsafe"),
    [
        (b"C:/x", True), (b"c:x", True), (b"z:", True), (b"1:x", False), (b"ab:c", False), (b"a/c:x", False),
        (b"\\x", True), (b"\\\\server\\share", True), (b"a\\..\\b", True), (b"..\\x", True), (b"a\\.\\b", True),
        (b"a/\\b", True), (b"a\\\\b", False), (b"a..b", False), (b"a..\\b", False),
    ],
)  # fmt: skip
def test_a_backslash_separates_and_a_drive_is_a_drive(path: bytes, unsafe: bool) -> None:
    assert is_unsafe(path) is unsafe


some = st.lists(st.sampled_from([*NAMES, b"a", b"src", b"C:x", b"\\"]), min_size=1, max_size=4).map(b"/".join)


@given(st.lists(some.filter(bool), min_size=1, max_size=8))
def test_among_many_the_same_are_unsafe(paths: list[bytes]) -> None:
    assert unsafe_among(paths) == {path for path in paths if is_unsafe(path)}

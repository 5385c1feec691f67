import pytest

from syncsvc.exceptions import InvalidUrlError
from syncsvc.git.url import check_url, default_name, scheme_of


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://GitHub.com/owner/repo.git", "https://github.com/owner/repo.git"),
        ("https://host:8443/a/b/", "https://host:8443/a/b"),
        ("HTTP://host/a", "http://host/a"),
        ("http://[::1]:8080/a/b", "http://[::1]:8080/a/b"),
        ("git://host/a.git", "git://host/a.git"),
        ("ssh://git@host:2222/a/b.git", "ssh://git@host:2222/a/b.git"),
        ("ssh://host/a", "ssh://host/a"),
        ("git@Host.example:owner/repo.git", "git@host.example:owner/repo.git"),
        ("host:repo", "host:repo"),
        ("git@[::1]:repo", "git@[::1]:repo"),
        ("https://host/a%20b/r%C3%A9po", "https://host/a%20b/r%C3%A9po"),
        ("https://host/~user/été.git", "https://host/~user/été.git"),
    ],
)
def test_urls_that_git_can_fetch_from_are_kept_in_one_form(url: str, kept: str) -> None:
    assert check_url(url, allow_local=False) == kept
    assert check_url(kept, allow_local=False) == kept


@pytest.mark.parametrize(
    "url",
    [
        "",
        "-",
        "--upload-pack=touch /tmp/x",
        "-oProxyCommand=x@host:repo",
        "ext::sh -c touch% /tmp/x",
        "ext::sh",
        "fd::17",
        "::x",
        "file::/tmp/x",
        "https://user:token@host/a",
        "https://:token@host/a",
        "https://token@host/a",
        "http://@host/a",
        "git://user@host/a",
        "ssh://git:pw@host/a",
        "ssh://-oProxyCommand=touch/a",
        "ssh://-oProxyCommand=touch@host/a",
        "ssh://git@-oProxyCommand=touch/a",
        "-oProxyCommand=touch:a",
        "git@-oProxyCommand=touch:a",
        "git@host:-a",
        "ssh://host/-a",
        "ssh:///a",
        "https:///a",
        "https://host",
        "https://host/",
        "https://host/a?b",
        "https://host/a#b",
        "https://host:99999/a",
        "https://host:x/a",
        "https://ho st/a",
        "https://host/a b",
        "https://host/a\nb",
        "https://host/a\x00b",
        "https://host/a\u200b",
        "https://ho$(x)st/a",
        "git@host;x:a",
        "ftp://host/a",
        "repo",
        "./repo",
        "../repo",
        "git@host:",
        "git@host:/",
        "/srv/repo",
        "file:///srv/repo",
    ],
)
def test_urls_that_git_could_misread_are_refused_with_a_reason(url: str) -> None:
    with pytest.raises(InvalidUrlError) as caught:
        check_url(url, allow_local=False)
    assert len(str(caught.value)) > 30
    assert "token@" not in str(caught.value)


def test_local_paths_are_taken_only_where_they_are_allowed() -> None:
    assert check_url("/srv/repo/", allow_local=True) == "/srv/repo"
    assert check_url("file:///srv/repo.git", allow_local=True) == "file:///srv/repo.git"
    for url in ("file://host/srv", "file://", "srv/repo", "-/srv", "ext::/srv"):
        with pytest.raises(InvalidUrlError):
            check_url(url, allow_local=True)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://github.com/owner/repo.git", "owner/repo"),
        ("https://host/group/sub/repo", "sub/repo"),
        ("git@host:owner/repo.git", "owner/repo"),
        ("host:repo.git", "repo"),
        ("/srv/git/thing.git", "git/thing"),
        ("/home/me/thing/.git", "me/thing"),
        ("file:///thing", "thing"),
    ],
)
def test_a_repository_is_named_after_its_owner_and_itself(url: str, name: str) -> None:
    assert default_name(url) == name


def test_the_transport_is_what_git_calls_it() -> None:
    urls = ["https://h/a", "http://h/a", "ssh://h/a", "u@h:a", "git://h/a", "/a", "file:///a"]
    assert [scheme_of(url) for url in urls] == ["https", "http", "ssh", "ssh", "git", "file", "file"]

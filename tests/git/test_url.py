import os
import subprocess

import pytest

from syncsvc.exceptions import InvalidUrlError
from syncsvc.git.environment import environment, proxied
from syncsvc.git.url import check_url, default_name, read_url, scheme_of


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
        "https://host/../a",
        "https://host/a/..",
        "http://host/a/%2e%2E/b",
        "https://host/100%/a",
        "https://host/%zz",
        "https://user:token@host/a",
        "https://:token@host/a",
        "https://user@host/a",
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
        "https://host:0/a",
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
        "[host:22]:a",
        "git@[10.0.0.1:6379]:a",
        "git@[dead:99]:a",
        "host:x@[::1]:99:a",
        "u:p@[::1]:a",
        "ssh://host/x@[::1]:99/a",
        "ssh://host/x%40%5B::1%5D:99/a",
        "git://host/x@[10.0.0.1]:6379/a",
        "/srv/repo",
        "file:///srv/repo",
    ],
)
def test_urls_that_git_could_misread_are_refused_with_a_reason(url: str) -> None:
    with pytest.raises(InvalidUrlError) as caught:
        check_url(url, allow_local=False)
    assert len(str(caught.value)) > 30
    assert "token@" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "url", "username"),
    [
        ("https://acme@dev.azure.com/acme/web/_git/web", "https://dev.azure.com/acme/web/_git/web", "acme"),
        ("https://dev.azure.com/acme/My%20Web/_git/web", "https://dev.azure.com/acme/My%20Web/_git/web", ""),
        ("https://mary@bitbucket.org/acme/web.git", "https://bitbucket.org/acme/web.git", "mary"),
        (
            "https://mary.m@Bitbucket.Example:7990/scm/acme/web.git/",
            "https://bitbucket.example:7990/scm/acme/web.git",
            "mary.m",
        ),
        ("  https://git.example/acme/web.git \n", "https://git.example/acme/web.git", ""),
        ("http://mary%40example.com@git.example/a", "http://git.example/a", "mary@example.com"),
        ("https://@git.example/a", "https://git.example/a", ""),
        ("https://ATLAS@git.example/a", "https://git.example/a", "ATLAS"),
        ("https://x-token-auth@bitbucket.org/a/b", "https://bitbucket.org/a/b", "x-token-auth"),
        ("https://mary:@git.example/a", "https://git.example/a", "mary"),
        ("git@ssh.dev.azure.com:v3/acme/My%20Web/web", "git@ssh.dev.azure.com:v3/acme/My%20Web/web", ""),
        ("acme@vs-ssh.visualstudio.com:v3/acme/web/web", "acme@vs-ssh.visualstudio.com:v3/acme/web/web", ""),
        ("ssh://git@git.example:7999/acme/web.git", "ssh://git@git.example:7999/acme/web.git", ""),
    ],
)
def test_a_clone_url_is_taken_as_hosts_show_it_and_its_user_apart(text: str, url: str, username: str) -> None:
    assert read_url(text, allow_local=False) == (url, username)
    assert read_url(url, allow_local=False) == (url, "")
    assert check_url(url, allow_local=False) == url


@pytest.mark.parametrize(
    "text",
    [
        "https://mary:s3cret@git.example/a",
        "https://:s3cret@git.example/a",
        "https://ghp_0123456789abcdefABCDEF0123456789abcd@github.com/a/b",
        "https://github_pat_11AAAA0123456789@github.com/a/b",
        "https://glpat-0123456789abcdefghij@gitlab.com/a/b",
        "https://0123456789abcdef0123456789abcdef01234567@github.com/a/b",
        "https://abcdefghijklmnopqrstuvwxyz234567abcdefghijklmnopqrst@dev.azure.com/a/_git/b",
        "https://oauth2:glpat-x@gitlab.com/a/b",
        "https://mary%3As3cret@git.example/a",
        "https://ma ry@git.example/a",
        "https://mary%0a@git.example/a",
        "https://a@b@git.example/a",
        "https://mary@/a",
        "https://mary@git.example",
        "git://mary@git.example/a",
    ],
)
def test_a_url_that_holds_a_secret_or_no_name_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(InvalidUrlError) as caught:
        read_url(text, allow_local=False)
    assert len(str(caught.value)) > 30
    for secret in ("s3cret", "ghp_", "glpat", "0123456789", "abcdefgh"):
        assert secret not in str(caught.value)


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
        ("https://dev.azure.com/acme/My%20Web/_git/My%20Repository", "My Web/My Repository"),
        ("https://dev.azure.com/acme/_git/web", "acme/web"),
        ("git@ssh.dev.azure.com:v3/acme/My%20Web/r%C3%A9po", "My Web/répo"),
        ("https://git.example/a/100%25", "a/100%"),
        ("https://git.example/a/%ff", "a/%ff"),
        ("https://git.example/a/x%0ay", "a/x%0ay"),
        ("https://git.example/a/%20x%20", "a/ x"),
    ],
)
def test_a_repository_is_named_after_its_owner_and_itself(url: str, name: str) -> None:
    assert default_name(url) == name


def test_the_transport_is_what_git_calls_it() -> None:
    urls = ["https://h/a", "http://h/a", "ssh://h/a", "u@h:a", "git://h/a", "/a", "file:///a"]
    assert [scheme_of(url) for url in urls] == ["https", "http", "ssh", "ssh", "git", "file", "file"]


@pytest.mark.parametrize("host", ["h", "a_b.example", ".x", "x..y", "a.example.", "[::ffff:1.2.3.4]"])
@pytest.mark.parametrize("rest", [":0080/a", "/a//...b/%00%2f", "/~é😀|{}[]<>^`&;*$!(':@\\"])
def test_git_finds_the_settings_of_each_url_that_is_accepted(host: str, rest: str) -> None:
    """It looks for them by a form of its own, and finds none for a URL that has no such form."""
    url = check_url(f"http://{host}{rest}", allow_local=False)
    env = {**environment(proxied(url, "http://this:1")), "PATH": os.environ["PATH"]}
    asked = subprocess.run(["git", "config", "--get-urlmatch", "http.proxy", url], env=env, capture_output=True)
    assert asked.stdout == b"http://this:1\n"

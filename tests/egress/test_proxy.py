"""The setting EGRESS_PROXY, and what is looked at before a proxy is asked."""

import pytest

from syncsvc.egress.addresses import AddressPolicy
from syncsvc.egress.policy import RefusedError
from syncsvc.egress.proxied import check_proxied
from syncsvc.egress.proxy import Proxy, read_proxy


@pytest.mark.parametrize(
    ("text", "proxy"),
    [
        ("", None),
        ("  ", None),
        ("http://proxy.example:4750", Proxy("proxy.example", 4750)),
        (" http://proxy.example:4750/\n", Proxy("proxy.example", 4750)),
        ("http://[fd00::1]:3128", Proxy("fd00::1", 3128)),
        ("http://me:secret@10.0.0.1:4750", Proxy("10.0.0.1", 4750, "me", "secret")),
        ("http://me@10.0.0.1:4750", Proxy("10.0.0.1", 4750, "me")),
        ("http://me:a%40b%3Ac%2F%25@proxy:1", Proxy("proxy", 1, "me", "a@b:c/%")),
    ],
)
def test_a_proxy_is_read_from_its_url(text: str, proxy: Proxy | None) -> None:
    assert read_proxy(text) == proxy
    if proxy:
        assert read_proxy(proxy.url) == proxy


@pytest.mark.parametrize(
    "text",
    [
        "geheim",
        "proxy.example:4750",
        "https://user:geheim@proxy.example:4750",
        "socks5://user:geheim@proxy.example:1080",
        "http://user:geheim@proxy.example",
        "http://user:geheim@proxy.example:0",
        "http://user:geheim@proxy.example:65536",
        "http://user:geheim@proxy.example:x",
        "http://user:geheim@:4750",
        "http://:geheim@proxy.example:4750",
        "http://us%3Aer:geheim@proxy.example:4750",
        "http://user:geheim%0d%0aX:y@proxy.example:4750",
        "http://user:geheim@proxy.example:4750/path",
        "http://user:geheim@proxy.example:4750?geheim",
        "http://user:geheim@proxy.example:4750#geheim",
        "http://user:geheim@proxy example:4750",
        "http://user:geheim@[::1:4750",
    ],
)
def test_other_texts_are_refused_with_what_to_write_and_without_the_secret(text: str) -> None:
    with pytest.raises(ValueError, match=r"http://proxy\.example:4750") as refused:
        read_proxy(text)
    assert "geheim" not in str(refused.value)


def test_a_proxy_does_not_show_its_login() -> None:
    proxy = Proxy("proxy.example", 4750, "somebody", "geheim")
    assert "geheim" not in f"{proxy} {proxy!r} {proxy.authority}"
    assert "somebody" not in f"{proxy} {proxy!r} {proxy.authority}"
    assert "geheim" in proxy.secrets


NAMES = {
    "public.test": ["8.8.8.8"],
    "inside.test": ["10.0.0.1"],
    "mixed.test": ["8.8.8.8", "10.0.0.1"],
    "public6.test": ["2606:4700::1"],
}


def lookup(host: str, port: int) -> list[str]:
    if host not in NAMES:
        raise OSError
    return NAMES[host]


@pytest.mark.parametrize(
    ("host", "asked"),
    [
        ("public.test", True),
        ("public6.test", True),
        ("8.8.8.8", True),
        ("2606:4700::1", True),
        ("unknown.test", True),  # the proxy may know it
        ("inside.test", False),
        ("mixed.test", False),  # which one the proxy takes is not known
        ("10.0.0.1", False),
        ("::1", False),
        ("::ffff:10.0.0.1", False),
        ("fe80::1%lo", False),
        ("localhost", False),
        ("LOCALHOST.", False),
        ("a.localhost", False),
        ("alocalhost", True),
        ("127.0.0.1..", False),
        ("a..test", False),
        ("127.1", False),
        ("0x7f000001", False),
        ("2130706433", False),
        ("127.0.0.1.", False),
        ("%31%32%37.0.0.1", False),
        ("public.test@10.0.0.1", False),
        ("public.test\r\nX: y", False),
        ("-public.test", False),
        ("", False),
    ],
)
def test_a_proxy_is_asked_for_nothing_that_is_known_to_be_inside(host: str, asked: bool) -> None:
    def check() -> None:
        check_proxied(host, 443, addresses=AddressPolicy([]), setting="SOME_NETWORKS", timeout=5, lookup=lookup)

    if asked:
        check()
    else:
        with pytest.raises(RefusedError) as refused:
            check()
        assert "10.0.0.1" not in str(refused.value).replace(host, "")


@pytest.mark.parametrize("host", ["10.0.0.1", "inside.test", "mixed.test"])
def test_a_proxy_is_asked_for_networks_that_are_allowed(host: str) -> None:
    check_proxied(host, 443, addresses=AddressPolicy(["10.0.0.0/8"]), setting="S", timeout=5, lookup=lookup)


def test_a_lookup_that_hangs_leaves_the_decision_to_the_proxy() -> None:
    def hang(host: str, port: int) -> list[str]:
        raise TimeoutError

    check_proxied("slow.test", 443, addresses=AddressPolicy([]), setting="S", timeout=5, lookup=hang)

import pytest

from syncsvc.delivery.webhook_url import check_webhook_url
from syncsvc.exceptions import InvalidUrlError


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "https://example.com:8443/hook?token=a%20b",
        "http://127.0.0.1:8080/hook",
        "http://[2001:db8::1]:8080/hook",
        "HTTPS://EXAMPLE.COM/",
        "http://my_host.internal/",
        "http://[fe80::1%25eth0]:8080/hook",
        "http://[::FFFF:10.0.0.1]/",
    ],
)
def test_webhook_urls_are_taken_as_they_are(url: str) -> None:
    assert check_webhook_url(f" {url}\n") == url


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "begins with https://"),
        ("example.com/hook", "begins with https://"),
        ("ftp://example.com/", "begins with https://"),
        ("file:///etc/passwd", "begins with https://"),
        ("https:///hook", "no host"),
        ("https://:443/hook", "no host"),
        ("https://user:geheim@example.com/", "user name or password"),
        ("https://user@example.com/", "user name or password"),
        ("https://@example.com/", "user name or password"),
        ("https://example.com/#top", "fragment"),
        ("https://example.com/#", "fragment"),
        ("https://example.com:0/", "Port 0"),
        ("https://example.com:65536/", "host or port"),
        ("https://example.com:http/", "host or port"),
        ("https://[::1/", "host or port"),
        ("https://%31%32%37.0.0.1/", "neither a name nor an address"),
        ("https://example.com%00/", "neither a name nor an address"),
        ("https://exa$mple.com/", "neither a name nor an address"),
        ("https://example.com,evil.example/", "neither a name nor an address"),
        ("https://exam ple.com/", "space"),
        ("https://example.com/a\r\nX: y", "space"),
        ("https://example.com\\@evil.example/", "backslash"),
        ("https://bücher.example/", "xn--"),
    ],
)
def test_other_urls_are_refused_with_what_to_write(url: str, message: str) -> None:
    with pytest.raises(InvalidUrlError, match=message) as error:
        check_webhook_url(url)
    assert "geheim" not in str(error.value)

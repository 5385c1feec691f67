import pytest

from syncsvc.delivery.addresses import AddressPolicy, check_webhook_url
from syncsvc.exceptions import InvalidUrlError

PUBLIC = [
    "8.8.8.8",
    "172.32.0.1",
    "100.128.0.1",
    "2001:4860:4860::8888",
    "2a00:1450:4001:800::200e",
    "::ffff:8.8.8.8",  # IPv4-mapped
    "64:ff9b::8.8.8.8",  # NAT64
]
FORBIDDEN = [
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",  # carrier-grade NAT
    "100.100.100.200",  # a cloud's metadata inside it
    "127.0.0.1",
    "127.8.9.10",
    "168.63.129.16",  # Azure's
    "169.254.169.254",
    "172.16.0.1",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",  # IPv4-compatible
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "100::1",
    "2001:db8::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:a00:1%eth0",
    "64:ff9b::127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::8.8.8.8",
    "64:ff9b:1::10.0.0.1",
    "2002:7f00:1::1",  # 6to4 of 127.0.0.1
    "2002:a9fe:a9fe::",  # 6to4 of 169.254.169.254
    "2001:0:4136:e378:8000:63bf:80ff:fffe",  # Teredo of 127.0.0.1
    "localhost",
    "example.com",
    "",
    "1",
    "0x7f.1",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_permitted(address: str) -> None:
    assert AddressPolicy([]).permits(address)


@pytest.mark.parametrize("address", FORBIDDEN)
def test_other_addresses_are_not(address: str) -> None:
    policy = AddressPolicy([])
    assert not policy.permits(address)
    assert not policy.permits(address)  # nor when it was asked before


@pytest.mark.parametrize(
    ("network", "address", "permitted"),
    [
        ("127.0.0.0/8", "127.0.0.1", True),
        ("127.0.0.0/8", "::ffff:127.0.0.1", True),
        ("127.0.0.0/8", "64:ff9b::127.0.0.1", True),
        ("127.0.0.0/8", "::1", False),
        ("127.0.0.0/8", "10.0.0.1", False),
        (" 10.1.2.3 ", "10.1.2.3", True),
        ("10.1.2.3/32", "10.1.2.4", False),
        ("::1/128", "::1", True),
        ("::/0", "::ffff:127.0.0.1", False),
        ("fe80::/10", "fe80::1%eth0", True),
        ("64:ff9b:1::/48", "64:ff9b:1::10.0.0.1", True),
        ("0.0.0.0/0", "169.254.169.254", True),
        ("127.0.0.0/8", "2002:7f00:1::1", False),
    ],
)
def test_listed_networks_are_permitted_and_no_more(network: str, address: str, permitted: bool) -> None:
    assert AddressPolicy([network]).permits(address) is permitted


@pytest.mark.parametrize("text", ["", "10.0.0.0/33", "10.0.0.1/8", "internal", "fd00::/129"])
def test_what_is_no_network_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a network .* write a CIDR like 10\.0\.0\.0/8"):
        AddressPolicy([text])


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "https://example.com:8443/hook?token=a%20b",
        "http://127.0.0.1:8080/hook",
        "http://[2001:db8::1]:8080/hook",
        "HTTPS://EXAMPLE.COM/",
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

"""Headers of an app's own: which are taken, in which form they are stored, and what is said of the others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncsvc.delivery.extra_headers import ALL_BYTES, MOST_HEADERS, check_headers, names_of

SECRET = "s3cr3t-value"
OWNED = (
    *("Host", "Connection", "Keep-Alive", "Transfer-Encoding", "TE", "Trailer", "Upgrade", "Expect", "Date", "Via"),
    *("Content-Type", "content-length", "Content-Encoding", "Content_Length", "Content_Anything", "Range", "If-Match"),
    *("Proxy-Authorization", "Proxy-Connection", "proxy-anything", "Accept-Encoding", "HTTP2-Settings"),
    *("User-Agent", "user_agent", "Webhook-Id", "webhook-signature", "WEBHOOK-TIMESTAMP", "webhook_id", "webhook-new"),
)


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("Authorization: Bearer abc", "Authorization: Bearer abc"),
        ("  X-Key:abc  ", "X-Key: abc"),
        ("A: 1\r\n\r\nB:\t2 \n", "A: 1\nB: 2"),
        ("X-Colons: a:b: c", "X-Colons: a:b: c"),
        ("Cookie: a=b; c=d", "Cookie: a=b; c=d"),
        ("!#$%&'*+.^_`|~-9z: 1", "!#$%&'*+.^_`|~-9z: 1"),
        ("X-Inner: a  \t b", "X-Inner: a  \t b"),
    ],
)
def test_headers_are_stored_a_line_each(given: str, stored: str) -> None:
    assert check_headers(given) == stored
    assert check_headers(stored) == stored


@pytest.mark.parametrize("name", OWNED)
def test_headers_that_http_or_syncsvc_set_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be set") as error:
        check_headers(f"{name}: {SECRET}")
    assert SECRET not in str(error.value)


@pytest.mark.parametrize(
    "line",
    [
        f"no colon {SECRET}",
        f": {SECRET}",
        f"X Key: {SECRET}",
        f"X-Key : {SECRET}",
        f"Schlüssel: {SECRET}",
        f":authority: {SECRET}",
        f"{'x' * 101}: {SECRET}",
        f"X-Key;: {SECRET}",
        "X-Key:",
        "X-Key:   ",
        f"X-Key: {SECRET}\x00",
        f"X-Key: {SECRET}\x0bx",
        f"X-Key: {SECRET}\x7f",
        f"X-Key: {SECRET} é",
        f"X-Key: {SECRET} \N{SNOWMAN}",
        f"X-Key: {SECRET}{'x' * 4096}",
        f"X-Key: {SECRET}\nx-key: {SECRET}",
        "\n".join(f"X-{n}: {SECRET}" for n in range(MOST_HEADERS + 1)),
        "\n".join(f"X-{n}: {SECRET}{'x' * 700}" for n in range(ALL_BYTES // 700 + 1)),
    ],
)
def test_what_is_no_header_is_refused_and_its_value_not_repeated(line: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as error:
        check_headers(f"A: b\n{line}")
    assert SECRET not in str(error.value)


def test_names_are_told_without_values() -> None:
    assert names_of(check_headers(f"Authorization: Bearer {SECRET}\nX-Key: a:b")) == ["Authorization", "X-Key"]
    assert names_of("") == []


@given(st.text())
def test_nothing_that_is_taken_could_begin_another_line(text: str) -> None:
    try:
        stored = check_headers(text)
    except ValueError:
        return
    for line in stored.split("\n") if stored else []:
        name, colon, value = line.partition(": ")
        assert all((name, colon, value))
        assert line.isascii()
        assert all(letter == "\t" or letter.isprintable() for letter in line)

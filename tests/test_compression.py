"""What the web process sends is compressed, pages and static files alike."""

import gzip

import pytest
from django.test import Client

GZIP = {"Accept-Encoding": "gzip, br"}
SHEET = "/static/syncsvc/console.css"


def body(response: object) -> bytes:
    return b"".join(response)  # type: ignore[call-overload, no-any-return]


def test_a_static_file_is_compressed_once_and_is_the_same(client: Client) -> None:
    plain, packed, again = client.get(SHEET), client.get(SHEET, headers=GZIP), client.get(SHEET, headers=GZIP)

    assert "Content-Encoding" not in plain
    assert packed["Content-Encoding"] == "gzip"
    assert packed["Content-Length"] == str(len(packed.content))
    assert gzip.decompress(packed.content) == body(plain)
    assert again.content == packed.content
    assert len(packed.content) < int(plain["Content-Length"]) / 3
    assert "Accept-Encoding" in plain["Vary"]
    assert packed["ETag"] == plain["ETag"]


def test_what_the_browser_has_is_not_sent_again(client: Client) -> None:
    tag = client.get(SHEET, headers=GZIP)["ETag"]
    assert client.get(SHEET, headers={**GZIP, "If-None-Match": tag}).status_code == 304


@pytest.mark.parametrize("headers", [{"Range": "bytes=0-9"}, {"Accept-Encoding": "br"}])
def test_parts_and_what_does_not_take_gzip_are_sent_as_they_are(headers: dict[str, str], client: Client) -> None:
    response = client.get(SHEET, headers={**GZIP, **headers})
    assert "Content-Encoding" not in response
    assert body(response)[:2] == b"/*"


def test_head_says_what_there_is(client: Client) -> None:
    response = client.head(SHEET, headers=GZIP)
    assert response.status_code == 200
    assert body(response) == b""


def test_a_page_is_compressed(admin_client: Client) -> None:
    page = admin_client.get("/admin/syncsvc/app/", headers=GZIP)
    assert page["Content-Encoding"] == "gzip"
    assert b"<!DOCTYPE html>" in gzip.decompress(page.content)

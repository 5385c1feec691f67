"""What the web process sends is compressed, pages and static files alike."""

import gzip

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


def test_who_does_not_take_gzip_gets_the_file_as_it_is(client: Client) -> None:
    response = client.get(SHEET, headers={"Accept-Encoding": "br"})
    assert "Content-Encoding" not in response
    assert body(response)[:2] == b"/*"


def test_who_asks_for_a_part_gets_the_whole_file(client: Client) -> None:
    """A part would be read anew for each client, however slowly each takes it."""
    part = client.get(SHEET, headers={"Range": "bytes=0-9"})
    assert (part.status_code, part.content) == (200, client.get(SHEET).content)


def test_head_says_what_there_is(client: Client) -> None:
    response = client.head(SHEET, headers=GZIP)
    assert response.status_code == 200
    assert body(response) == b""


def test_a_page_is_compressed(admin_client: Client) -> None:
    page = admin_client.get("/admin/syncsvc/app/", headers=GZIP)
    assert page["Content-Encoding"] == "gzip"
    assert b"<!DOCTYPE html>" in gzip.decompress(page.content)

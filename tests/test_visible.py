"""Characters that steer a terminal, turn text around or are not seen are escaped wherever others can put them."""

import io
import json
import logging
import re
import sys
import unicodedata

import orjson
import pytest
from django.contrib import admin
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils.html import escape
from hypothesis import given
from hypothesis import strategies as st

from syncsvc.admin.navigation import HISTORY, OTHERS, PAGES
from syncsvc.admin.visible_answers import VisibleAnswersMiddleware
from syncsvc.models import Repository, Subscription
from syncsvc.visible import HIDDEN, may_hide, visible, visible_html, visible_json, visible_line, visible_path
from tests import factories
from tests.management.conftest import Run, run

__all__ = ["run"]

# A screen is cleared, text is turned around, hidden, or ends too early; U+009B is an escape of one character.
ODD = "\x1b[2J\x08\x7f\x9b31m\xad\u202e\u2066\u200b\u200f\u2028\ufeff\U000e0041\x85"
SHOWN = r"\x1b[2J\x08\x7f\x9b31m\xad\u202e\u2066\u200b\u200f\u2028\ufeff\U000e0041\x85"
BIDI = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
SEEN = "Zoë says 你好　and 👩‍💻 می‌خواهم; naïve:\n\tdone\r\n"
texts = st.text(st.one_of(st.characters(), st.sampled_from(ODD + SEEN + '<>"&')))


def test_every_control_and_every_direction_of_unicode_is_hidden() -> None:
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        steers = unicodedata.category(character) in {"Cc", "Zl", "Zp", "Cs"} and character not in "\t\n"
        if steers or unicodedata.bidirectional(character) in BIDI or character in "\u200e\u200f\u061c":
            assert HIDDEN.match(character), hex(code)
            assert visible_line(character) == visible(character) == character.encode("unicode_escape").decode()


@given(texts)
def test_nothing_hidden_is_left_and_nothing_else_is_touched(text: str) -> None:
    assert not HIDDEN.search(visible(text))
    assert re.sub(r"[\t\r\n]", "", visible_line(text)) == visible_line(text)
    assert not HIDDEN.search(visible_line(text))
    assert visible_path(text.encode(errors="surrogatepass")).isprintable()
    if not HIDDEN.search(text):
        assert visible(text) == text


def test_what_people_write_stays() -> None:
    assert (visible(SEEN), visible_html(SEEN), visible_json(SEEN)) == (SEEN, SEEN, SEEN)
    assert visible(ODD) == SHOWN
    assert visible("overwritten\rby this\r\n") == "overwritten\\rby this\r\n"
    assert visible_line("a\nsynced: b") == "a\\nsynced: b"


@given(texts.filter(lambda text: text.isprintable() or text.encode(errors="ignore").decode() == text))
def test_a_document_means_the_same(text: str) -> None:
    document = {text: [text, 1, None], "a": {"b": text}}
    shown = visible_json(orjson.dumps(document).decode())
    assert json.loads(shown) == document
    assert not HIDDEN.search(shown)


@given(texts)
def test_values_of_forms_are_sent_back_as_they_are(text: str) -> None:
    text = text.encode(errors="ignore").decode()
    form = f'<input name="a" value="{escape(text)}"><textarea rows="2">\n{escape(text)}</textarea>'
    shown = visible_html(f"<p>{escape(text)}</p>{form}<b>{escape(text)}</b>")
    assert form in shown
    assert not HIDDEN.search(shown.replace(form, "").replace("\r", ""))


@given(texts)
def test_a_quick_look_misses_nothing(text: str) -> None:
    content = text.encode(errors="ignore")
    assert may_hide(content) or visible_html(content.decode()) == content.decode()


@pytest.fixture
def odd_rows(transactional_db: None) -> Subscription:
    """Rows whose every text from elsewhere is odd."""
    app = factories.AppFactory(name="app", url=f"https://client.example/{ODD}")
    trouble = {"error_kind": "git_not_found", "last_error": f"error{ODD}"}
    repository = factories.RepositoryFactory(
        name=f"repository{ODD}",
        url=f"https://git.example/{ODD}",
        branch=f"branch{ODD}",
        head_branch=f"head{ODD}",
        head_commit=f"commit{ODD}",
        **trouble,
    )
    failed = factories.SubscriptionFactory(app=app, repository=repository, failed=True)
    Subscription.objects.update(**trouble, asked_by=f"asker{ODD}")
    snapshot = factories.SnapshotFactory(
        repository=repository, commit=f"commit{ODD}", unsafe_paths=1, unsafe_examples=[f"../{ODD}".encode()]
    )
    Subscription.objects.update(snapshot=snapshot)
    run = factories.SyncRunFactory(
        subscription=failed,
        outcome="failed",
        error_kind="internal",
        error=f"error{ODD}",
        traceback=f"traceback{ODD}",
        worker=f"worker{ODD}",
        asked_by=f"asker{ODD}",
        to_commit=f"commit{ODD}",
    )
    factories.DeliveryAttemptFactory(
        run=run, path=f"path{ODD}".encode(), rejected=True, error=f"error{ODD}", answer=f"answer{ODD}".encode()
    )
    factories.DeliveredFileFactory(subscription=failed, path=f"path{ODD}".encode())
    operation = factories.OperationFactory(asked_by=f"asker{ODD}")
    factories.OperationItemFactory(operation=operation, subscription=failed, error_kind="internal", reason="")
    return Subscription.objects.get(pk=failed.pk)


def test_every_page_shows_them_as_escapes(odd_rows: Subscription, admin_client: Client) -> None:
    addresses = [reverse(f"admin:{name}") for _, name, _ in (*PAGES, *HISTORY, *OTHERS)]
    for model in admin.site._registry:
        if model._meta.app_label == "syncsvc":
            name = f"admin:syncsvc_{model._meta.model_name}_change"
            addresses += [reverse(name, args=[pk]) for pk in model._default_manager.values_list("pk", flat=True)]
    assert len(addresses) > 20
    showing = 0
    for address in addresses:
        response = admin_client.get(address)
        assert response.status_code == 200, address
        page = re.sub(r'\svalue="[^"]*"|<textarea[^>]*>[^<]*', "", response.content.decode())
        assert not HIDDEN.search(page), (address, page[(at := HIDDEN.search(page).start()) - 80 : at + 9])  # type: ignore[union-attr]
        assert int(response.headers.get("Content-Length", len(response.content))) == len(response.content)
        showing += SHOWN in page
    assert showing > 10


def test_saving_a_form_keeps_what_it_shows(odd_rows: Subscription, admin_client: Client) -> None:
    address = reverse("admin:syncsvc_repository_change", args=[odd_rows.repository_id])
    form = admin_client.get(address).content.decode()
    assert f'name="branch" value="branch{escape(ODD)}"' in form.replace("\n", " ")
    assert Repository.objects.get().branch == f"branch{ODD}"


@pytest.mark.parametrize("arguments", [("status",), ("operations",), ("retry", "--all", "--dry-run"), ("audit",)])
def test_commands_write_no_control_character(odd_rows: Subscription, run: Run, arguments: tuple[str, ...]) -> None:
    lines = run(*arguments)
    assert lines.code in {0, 1}, lines.err
    assert not HIDDEN.search(lines.out + lines.err)
    document = run(*arguments, "--json")
    assert not HIDDEN.search(document.out)
    assert document.json
    if arguments == ("status",):
        assert f"app/repository{SHOWN}: failed" in lines.out
        assert document.json["subscriptions"][0]["repository"] == Repository.objects.get().name


@pytest.mark.parametrize(
    ("media_type", "content", "shown"),
    [
        ("application/problem+json", '{"a": "b\u202e\x9b"}', '{"a": "b\\u202e\\u009b"}'),
        ("text/plain; charset=utf-8", "a\x1b\n", "a\\x1b\n"),
        ("text/html", "<b title='\u2066'>\u2066</b>", "<b title='\\u2066'>\\u2066</b>"),
        ("text/csv", "a\u202e", "a\u202e"),
        ("", "a\u202e", "a\u202e"),
    ],
)
def test_each_answer_is_shown_in_its_own_way(media_type: str, content: str, shown: str) -> None:
    answer = HttpResponse(content, headers={"Content-Type": media_type, "Content-Length": str(len(content.encode()))})
    got = VisibleAnswersMiddleware(lambda request: answer)(RequestFactory().get("/"))
    assert b"".join(got).decode() == shown  # type: ignore[arg-type]
    assert got.headers["Content-Length"] == str(len(shown.encode()))


def test_a_refusal_names_what_was_typed_without_its_escapes(run: Run, db: None) -> None:
    for arguments in (("stop", f"nobody{ODD}/x"), ("app_change", f"nobody{ODD}", "--url", "https://x.example")):
        done = run(*arguments)
        assert done.code == 2
        assert not HIDDEN.search(done.out + done.err)
        assert not HIDDEN.search(run(*arguments, "--json").out)


@pytest.mark.parametrize("human", [False, True])
def test_logs_have_them_escaped(human: bool) -> None:
    from config.logs import configure_logging

    root = logging.getLogger()
    before = root.handlers[:], root.level
    try:
        configure_logging(level="INFO", human=human, visible="syncsvc.visible.visible")
        stream = io.StringIO()
        root.handlers[0].setStream(stream)  # type: ignore[attr-defined]
        try:
            raise ValueError(f"raised{ODD}")
        except ValueError:
            logging.getLogger("test").exception("said %s", ODD, extra={"more": ODD})
    finally:
        root.handlers[:] = before[0]
        root.setLevel(before[1])
    written = re.sub(r"\x1b\[\d*m", "", stream.getvalue())  # the colours of our own
    assert not HIDDEN.search(written)
    assert "said" in written
    assert "raised" in written

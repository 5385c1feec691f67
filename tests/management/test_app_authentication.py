"""The options of app_add and app_change for headers and certificates: from files, never shown again."""

import io
from pathlib import Path

import pytest

from syncsvc.models import App
from tests.delivery.authority import Authority
from tests.management.conftest import Run

HOOK = "https://client.example.com/hook"
SECRET = "s3cr3t-of-a-header"


class Files:
    def __init__(self, folder: Path) -> None:
        authority = Authority(folder)
        self.certificate, self.key = authority.client()
        _, self.others_key = authority.client()
        self.ended, self.ended_key = authority.client(days=-1)
        self.many = self.certificate * 75
        self.ca = authority.file.read_text()
        self.headers = f"Authorization: Bearer {SECRET}\nX-Tenant: a"
        self.owned = f"Host: {SECRET}"
        self._folder = folder

    def option(self, flag: str, text: str) -> str:
        file = self._folder / f"{flag}-{abs(hash(text))}"
        file.write_text(f"{text}\n")
        return f"--{flag}-file={file}"

    def all(self) -> list[str]:
        given = (("headers", self.headers), ("ca", self.ca))
        pair = (("client-certificate", self.certificate), ("client-key", self.key))
        return [self.option(flag, text) for flag, text in (*given, *pair)]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_app_add_takes_them_from_files_and_shows_no_secret(run: Run, files: Files) -> None:
    done = run("app_add", "client", HOOK, *files.all(), "--json")
    app = App.objects.get()
    assert done.code == 0
    assert app.headers is not None
    assert app.headers.reveal() == files.headers
    assert app.client_key is not None
    assert app.client_key.reveal() == files.key.strip()
    assert (app.ca_certificate, app.client_certificate) == (files.ca.strip(), files.certificate.strip())
    assert done.json["headers"] == ["Authorization", "X-Tenant"]
    assert done.json["client_certificate"]["subject"] == "CN=syncsvc"
    assert [one["subject"] for one in done.json["ca_certificate"]] == ["CN=A test's authority"]
    assert SECRET not in done.out
    assert "PRIVATE" not in done.out


def test_app_change_gives_and_takes_them(run: Run, files: Files) -> None:
    run("app_add", "client", HOOK)
    done = run("app_change", "client", *files.all(), "--json")
    assert done.json["changed"] == ["headers", "ca_certificate", "client_certificate", "client_key"]
    assert done.json["headers"] == ["Authorization", "X-Tenant"]
    gone = run("app_change", "client", "--no-headers", "--no-ca", "--no-client-certificate", "--json").json
    assert gone["changed"] == ["headers", "ca_certificate", "client_certificate", "client_key"]
    assert (gone["headers"], gone["ca_certificate"], gone["client_certificate"]) == ([], [], None)
    app = App.objects.get()
    assert (app.headers, app.client_key, app.client_certificate) == (None, None, "")


def test_headers_may_come_from_stdin(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run("app_add", "client", HOOK)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(f"X-Key: {SECRET}\n".encode())))
    assert run("app_change", "client", "--headers-file=-", "--json").json["headers"] == ["X-Key"]


def test_a_certificate_is_renewed_with_the_key_it_has(run: Run, files: Files) -> None:
    run("app_add", "client", HOOK, *files.all())
    assert run("app_change", "client", files.option("client-certificate", files.certificate)).code == 0


def test_a_certificate_that_has_ended_is_said(run: Run, files: Files) -> None:
    pair = [files.option("client-certificate", files.ended), files.option("client-key", files.ended_key)]
    assert "It ended on" in run("app_add", "client", HOOK, *pair).err
    assert "It ended on" in run("app_change", "client", *pair).err


@pytest.mark.parametrize(
    ("given", "kind", "words"),
    [
        ([("headers", "owned")], "invalid", "headers: The header Host"),
        ([("headers", "certificate")], "invalid", "headers: Line 1"),
        ([("ca", "key")], "invalid", "ca-certificate: This holds a private key"),
        ([("ca", "headers")], "invalid", "ca-certificate: This is no PEM"),
        ([("ca", "many")], "invalid", "ca-certificate: The certificates have"),
        ([("client-certificate", "certificate")], "invalid", "client-key: A client certificate goes with"),
        ([("client-key", "key")], "invalid", "client-certificate: A private key goes with"),
        (
            [("client-certificate", "certificate"), ("client-key", "others_key")],
            "invalid",
            "client-key: This key is",
        ),
        ([("client-certificate", "headers"), ("client-key", "key")], "invalid", "client-certificate: This is no PEM"),
        (
            [("client-certificate", "certificate"), ("client-key", "headers")],
            "invalid",
            "client-key: This is no",
        ),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_stored(
    given: list[tuple[str, str]], kind: str, words: str, run: Run, files: Files
) -> None:
    options = [files.option(flag, getattr(files, name)) for flag, name in given]
    for command in (("app_add", "new", HOOK), ("app_change", "client")):
        run("app_add", "client", HOOK)
        done = run(*command, *options, "--json")
        assert done.refusal == kind
        assert words in done.json["error"]["message"]
        assert SECRET not in done.out + done.err
        assert list(App.objects.values_list("name", "headers", "client_key")) == [("client", None, None)]


@pytest.mark.parametrize(
    "options",
    [
        ("--headers-file=-", "--client-key-file=-"),
        ("--keep-authentication", "--drop-authentication", "--url=https://x.example.com/"),
        ("--headers-file=HEADERS", "--no-headers"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options: tuple[str, ...], run: Run, files: Files) -> None:
    run("app_add", "client", HOOK)
    named = [files.option("headers", files.headers) if "HEADERS" in option else option for option in options]
    assert run("app_change", "client", *named, "--json").refusal == "usage"


def test_another_host_gets_them_only_where_an_option_says_so(run: Run, files: Files) -> None:
    run("app_add", "client", HOOK, *files.all())
    asked = run("app_change", "client", "--url=https://a.example.com/", "--json")
    assert asked.refusal == "confirm"
    assert "--keep-authentication" in asked.json["error"]["message"]

    kept = run("app_change", "client", "--url=https://a.example.com/", "--keep-authentication", "--json").json
    assert (kept["dropped"], kept["headers"]) == ([], ["Authorization", "X-Tenant"])

    gone = run("app_change", "client", "--url=https://b.example.com/", "--drop-authentication")
    assert "Forgotten, because the new URL is another host's" in gone.out
    assert App.objects.get().authentication == (None, "", "", None)

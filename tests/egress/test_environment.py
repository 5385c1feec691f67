"""No variable or file of this machine's leads anything past the way out that the settings say."""

from collections.abc import Iterator
from pathlib import Path

import pycurl
import pytest

from tests.delivery.asking import ask
from tests.egress.proxy import ProxyServer
from tests.receiver import Receiver

VARIABLES = ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]
# Each is said to lead everything to the canary.
FILES = {
    ".curlrc": "proxy = {canary}\n",
    ".netrc": "machine 127.0.0.1 login somebody password geheim\n",
    ".gitconfig": "[http]\n\tproxy = {canary}\n",
}


@pytest.fixture
def canary() -> Iterator[ProxyServer]:
    with ProxyServer() as server:
        yield server


@pytest.fixture
def home(tmp_path: Path, canary: ProxyServer, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text.format(canary=canary.url))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CURL_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path


def test_the_canary_sees_what_obeys_a_variable(canary: ProxyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the tests below can fail."""
    monkeypatch.setenv("http_proxy", canary.url)
    with Receiver() as receiver:
        curl = pycurl.Curl()
        curl.setopt(pycurl.URL, receiver.url)
        curl.perform()
        curl.close()
    assert canary.connections == 1


@pytest.mark.parametrize("variable", VARIABLES)
def test_webhooks_obey_no_proxy_variable(variable: str, canary: ProxyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, canary.url)
    with Receiver() as receiver:
        assert ask(receiver.url).status == 204
    ask("https://127.0.0.1:9/")
    assert canary.connections == 0


def test_webhooks_obey_no_file_of_a_home_folder(home: Path, canary: ProxyServer) -> None:
    with Receiver() as receiver:
        assert ask(receiver.url).status == 204
    assert canary.connections == 0
    assert "authorization" not in receiver.requests[0].headers


@pytest.mark.parametrize("variable", ["no_proxy", "NO_PROXY"])
@pytest.mark.parametrize("value", ["*", "127.0.0.1", "127.0.0.0/8"])
def test_no_variable_leads_webhooks_past_the_proxy(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, value)
    with Receiver() as receiver, ProxyServer() as server:
        assert ask(receiver.url, proxy=server.proxy()).status == 204
    assert server.targets == [f"127.0.0.1:{receiver.port}"]

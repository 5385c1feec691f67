"""Nothing that a machine has around syncsvc leads a way out astray: variables, and files of its home folder.

What leads others astray is their own programs' proof: a libcurl, git or ssh of anybody's obeys it.
"""

import pytest

from tests.egress.world import GIT, PROXY, STRICT, WEBHOOKS, Around, visit

pytestmark = pytest.mark.usefixtures("world_of_its_own")

PLAIN = ["plain libcurl", "plain git over http", "plain git over https", "plain git protocol", "plain git over ssh"]
HOST = "8.8.8.8"

AROUND = [
    *(
        Around(name, {name: "{proxy}"})
        for name in ("http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "HTTP_PROXY")
    ),
    *(Around(name, {name: "{program}"}) for name in ("GIT_SSH", "GIT_SSH_COMMAND", "GIT_PROXY_COMMAND")),
    Around("GIT_CONFIG_PARAMETERS", {"GIT_CONFIG_PARAMETERS": "'http.proxy={proxy}'"}),
    Around(
        "GIT_CONFIG_COUNT",
        {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "http.proxy", "GIT_CONFIG_VALUE_0": "{proxy}"},
    ),
    Around("GIT_CONFIG_GLOBAL", {"GIT_CONFIG_GLOBAL": "{home}/config"}, {"config": "[http]\n\tproxy = {proxy}\n"}),
    Around("GIT_CONFIG_SYSTEM", {"GIT_CONFIG_SYSTEM": "{home}/config"}, {"config": "[http]\n\tproxy = {proxy}\n"}),
    *(
        Around(name, {"HOME": "{home}", "GIT_CONFIG_GLOBAL": "{home}/.gitconfig"}, {".gitconfig": text})
        for name, text in (
            ("http.proxy", "[http]\n\tproxy = {proxy}\n"),
            ("core.gitProxy", "[core]\n\tgitProxy = {program}\n"),
            ("core.sshCommand", "[core]\n\tsshCommand = {program}\n"),
            ("insteadOf", '[url "{proxy}/"]\n\tinsteadOf = http://8.8.8.8/\n'),
        )
    ),
    Around("ProxyCommand of ssh", {"HOME": "{home}"}, {".ssh/config": "Host *\n\tProxyCommand {program}\n"}),
]


def test_no_way_out_is_led_astray() -> None:
    visits = visit([*WEBHOOKS, *GIT], [HOST], AROUND, **STRICT)
    assert len(visits) == len(AROUND) * len([*WEBHOOKS, *GIT])
    assert [each for each in visits if each.asked] == []
    assert [each for each in visits if {address for address, _ in each.connected} != {HOST}] == []


def test_other_programs_are() -> None:
    """So that the test above can fail."""
    visits = visit(PLAIN, [HOST], AROUND, **STRICT)
    astray = {each.around for each in visits if each.asked}
    # libcurl takes no proxy from this one, since a web server's scripts get it from anybody.
    assert {each.name for each in AROUND} - astray == {"HTTP_PROXY"}


def test_nothing_leads_past_the_proxy() -> None:
    around = [Around(f"{name}={value}", {name: value}) for name in ("no_proxy", "NO_PROXY") for value in ("*", HOST)]
    visits = visit([*WEBHOOKS, *GIT], [HOST], around, EGRESS_PROXY=PROXY, **STRICT)
    assert len(visits) == len(around) * len([*WEBHOOKS, *GIT])
    assert [each for each in visits if each.connected or not each.asked] == []

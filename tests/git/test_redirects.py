from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from syncsvc.git.redirects import redirect_target

ASKED = "/info/refs?service=git-upload-pack"


@pytest.mark.parametrize(
    ("url", "location", "without", "with_credential"),
    [
        ("https://a.example/x/r", f"https://a.example/x/r.git{ASKED}", True, True),
        ("https://a.example/x/r", f"/x/r.git{ASKED}", True, True),
        ("https://a.example:443/x/r", f"https://A.EXAMPLE/x/r.git{ASKED}", True, True),
        ("https://a.example/x/r", f"https://a.example/y/r.git{ASKED}", True, False),
        ("https://a.example/x/r", f"https://a.example/x/r.GIT{ASKED}", True, False),
        ("https://a.example/x/r", f"https://a.example:8443/x/r.git{ASKED}", True, False),
        ("http://a.example/x/r", f"https://a.example/x/r{ASKED}", True, False),
        ("http://a.example/x/r", f"https://a.example/x/r.git{ASKED}", True, False),
        ("http://a.example/x/r", f"http://a.example/x/r{ASKED}", False, False),  # the same again
        ("https://a.example/x/r", f"http://a.example/x/r.git{ASKED}", False, False),
        ("https://a.example/x/r", f"https://b.example/x/r.git{ASKED}", False, False),
        ("https://a.example/x/r", f"https://a.example.b.example/x/r.git{ASKED}", False, False),
        ("https://a.example/x/r", f"https://a.example@b.example/x/r.git{ASKED}", False, False),
        ("https://a.example/x/r", f"https://b.example#@a.example/x/r.git{ASKED}", False, False),
        ("https://a.example/x/r", f"https://b.example\\@a.example/x/r.git{ASKED}", False, False),
        ("https://a.example/x/r", f"//b.example/x/r.git{ASKED}", False, False),
        ("https://a.example/x/r", f"ssh://a.example/x/r.git{ASKED}", False, False),
        ("https://a.example/x/r", f"https://a.example/x/r.git{ASKED}&x=1", False, False),
        ("https://a.example/x/r", f"https://a.example/x/ü.git{ASKED}", False, False),
        ("https://a.example/x/r", f"https://a.example:0/x/r.git{ASKED}", False, False),
        ("https://a.example/x/r", f"https://a.example:99999/x/r.git{ASKED}", False, False),
        ("https://a.example/x/r", "https://a.example/login", False, False),
        ("https://a.example/x/r", f"https://a.example{ASKED}", False, False),
    ],
)
def test_which_redirects_are_followed(url: str, location: str, without: bool, with_credential: bool) -> None:
    assert (redirect_target(url, location, has_credential=False) is not None) is without
    assert (redirect_target(url, location, has_credential=True) is not None) is with_credential


@given(st.text(max_size=60), st.booleans(), st.booleans())
@example("\r\nHost: b.example", True, False)
def test_no_location_leads_to_another_host_or_out_of_https(text: str, bare: bool, has_credential: bool) -> None:
    location = text if bare else f"https://{text}/r.git{ASKED}"
    target = redirect_target("https://a.example/x/r", location, has_credential=has_credential)
    if target is not None:
        assert (urlsplit(target).scheme, urlsplit(target).hostname) == ("https", "a.example")
        assert not has_credential or target == "https://a.example/x/r.git"

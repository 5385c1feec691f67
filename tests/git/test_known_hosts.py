"""Which pinned lines ssh is given: those that it would find by itself for the name and port in the URL."""

import subprocess
from pathlib import Path

import pytest

from syncsvc.git.known_hosts import pinned_for

KEY, OTHER = "ssh-ed25519 AAAAkey", "ssh-rsa AAAAother"


@pytest.mark.parametrize(
    ("host", "port", "pinned", "alias", "lines"),
    [
        ("a.example", 22, f"a.example {KEY}", "a.example", [KEY]),
        ("a.example", 22, f"A.Example {KEY} a comment", "a.example", [f"{KEY} a comment"]),
        ("A.example", 22, f"a.example,192.0.2.1 {KEY}\na.example {OTHER}", "a.example", [KEY, OTHER]),
        ("a.example", 22, f"*.example {KEY}", "a.example", [KEY]),
        ("a.example", 22, f"?.example {KEY}", "a.example", [KEY]),
        ("a.example", 22, f"*.example,!a.example {KEY}", "a.example", []),
        ("a.example", 22, f"[a.example]:22 {KEY}", "a.example", []),
        ("a.example", 22, f"[a.example]:2222 {KEY}", "a.example", []),
        ("a.example", 22, f"b.example {KEY}\n# a.example {KEY}\n\n", "a.example", []),
        ("a.example", 22, "a.example", "a.example", [""]),
        ("a.example", 22, "@revoked", "a.example", []),
        ("a.example", 2222, f"[a.example]:2222 {KEY}", "[a.example]:2222", [KEY]),
        ("a.example", 2222, f"a.example {KEY}", "[a.example]:2222", [KEY]),
        ("a.example", 2222, f"a.example {OTHER}\n[a.example]:2222 {KEY}", "[a.example]:2222", [KEY]),
        ("a.example", 2222, f"[*.example]:2222 {KEY}", "[a.example]:2222", [KEY]),
        ("a.example", 2222, f"[a.example]:22 {KEY}", "[a.example]:2222", []),
        ("2001:db8::1", 22, f"2001:db8::1 {KEY}", "2001:db8::1", [KEY]),
        ("2001:db8::1", 2222, f"[2001:db8::1]:2222 {KEY}", "[2001:db8::1]:2222", [KEY]),
    ],
)
def test_the_lines_for_a_host(host: str, port: int, pinned: str, alias: str, lines: list[str]) -> None:
    found = pinned_for(host, port, pinned)
    assert found.alias == alias
    assert found.lines.split("\n") == [f"{alias} {line}".rstrip() for line in lines] or (not lines and not found.lines)


def test_revoked_keys_stay_revoked_and_make_no_line_of_another_host_count() -> None:
    pinned = f"@revoked * {OTHER}\na.example {KEY}"
    assert pinned_for("a.example", 2222, pinned).lines.split("\n") == [
        f"@revoked [a.example]:2222 {OTHER}",
        f"[a.example]:2222 {KEY}",
    ]


def test_a_certificate_of_a_host_is_made_out_for_its_name_alone() -> None:
    found = pinned_for("a.example", 2222, f"@cert-authority *.example {KEY}")
    assert found == ("a.example", f"@cert-authority a.example {KEY}")


def test_hashed_names_are_found(tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
    file.write_text(f"a.example {key}\n[a.example]:2222 {key}\nb.example {key}\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(file)], check=True, capture_output=True)
    hashed = file.read_text()
    assert "a.example" not in hashed
    for host, port, alias in (("a.example", 22, "a.example"), ("a.example", 2222, "[a.example]:2222")):
        assert pinned_for(host, port, hashed) == (alias, f"{alias} {key}")
    assert not pinned_for("c.example", 22, hashed).lines
    assert not pinned_for("a.example", 22, "|1|bad|line ssh-ed25519 AAAA\n|1|x ssh-ed25519 AAAA").lines

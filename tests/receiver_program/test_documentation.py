"""docs/webhooks.md is run: its programs verify real messages, its messages are taken by the example receiver."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.receiver_program.program import Program, new_secret, whole_file

PAGE = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@contextmanager
def quick_start(folder: Path, file_name: str, code: str, command: list[str]) -> Iterator[Program]:
    """Runs a program of the page on a free port, and gives a sender that speaks to it."""
    sender = Program(folder)
    (folder / "secret.txt").write_text(sender.secret + "\n", encoding="ascii")
    with socket.create_server(("127.0.0.1", 0)) as free:
        sender.port = free.getsockname()[1]
    (folder / file_name).write_text(code.replace("9000", str(sender.port)), encoding="utf-8")
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen([*command, file_name], cwd=folder, stdout=output, stderr=subprocess.STDOUT)
    try:
        wait_for_port(sender.port)
        sender.connect()
        yield sender
        sender.connection.close()
    finally:
        process.kill()
        process.wait(10)


def wait_for_port(port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < deadline, "the program does not listen"
            time.sleep(0.05)
        else:
            return


def check_quick_start(sender: Program) -> None:
    file = whole_file("docs/é.md".encode(), "é\n".encode())
    assert sender.send_file("file.created", file) in (200, 204)
    assert sender.send_file("file.created", file, secrets=(new_secret(), sender.secret)) in (200, 204)
    assert sender.send("ping", {"app": {"id": "1", "name": "demo"}}) in (200, 204)
    assert sender.send_file("file.created", file, secrets=(new_secret(),)) == 401
    assert sender.send_file("file.created", file, age=600) == 401
    assert sender.post(b"{}", {}) == 401


def test_the_python_quick_start_verifies_messages(tmp_path: Path) -> None:
    (code,) = blocks("python")
    with quick_start(tmp_path, "receiver.py", code, [sys.executable]) as sender:
        check_quick_start(sender)
    assert "file.created docs/é.md" in (tmp_path / "output").read_text(encoding="utf-8")


def test_the_node_quick_start_verifies_messages(tmp_path: Path) -> None:
    package = Path(os.environ.get("NODE_PATH", "")) / "standardwebhooks"
    if not shutil.which("node") or not (package / "package.json").is_file():
        assert "CI" not in os.environ, "CI must have node and the package: see .ci/run"
        pytest.skip("needs node, and NODE_PATH naming a node_modules folder that holds standardwebhooks")
    (code,) = blocks("js")
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / "standardwebhooks").symlink_to(package)
    with quick_start(tmp_path, "receiver.mjs", code, ["node"]) as sender:
        check_quick_start(sender)
    assert "file.created docs/é.md" in (tmp_path / "output").read_text(encoding="utf-8")


def test_every_message_of_the_page_is_taken_by_the_receiver(program: Program) -> None:
    messages = [json.loads(block) for block in blocks("json")]
    for number, message in enumerate(messages):
        assert program.send(message["type"], message["data"], webhook_id=f"id-{number}") == 204, message
    seen = {message["type"] for message in messages}
    assert seen == {"file.created", "file.updated", "file.deleted", "files.batch", "sync.failed", "ping"}
    held = {path: content for path, (_, content) in program.files().items()}
    assert held == {
        b"caf\xe9.txt": b"latin\n",
        b"data/big.bin": b"first part, second part",
        b"docs/b.md": b"b\n",
        b"docs/latest": b"a.md",
    }

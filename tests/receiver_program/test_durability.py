import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.receiver_program.program import Program, whole_file


@pytest.mark.parametrize("options", [(), ("--fsync",)])
def test_what_was_acknowledged_outlives_a_kill(program: Program, options: tuple[str, ...]) -> None:
    program.stop()
    program.start(*options)
    assert program.send_file("file.created", whole_file(b"a.md", b"alpha"), webhook_id="1") == 204
    assert program.stop(signal.SIGKILL) == -signal.SIGKILL
    program.start()
    assert program.files() == {b"a.md": ("100644", b"alpha")}
    assert program.send_file("file.created", whole_file(b"a.md", b"alpha"), webhook_id="1") == 204
    assert program.status()["repeats"] == 1


def test_a_kill_under_load_loses_nothing_acknowledged(program: Program) -> None:
    acknowledged: set[bytes] = set()
    killed = threading.Event()

    def client(number: int) -> None:
        sender = Program.__new__(Program)
        sender.secret, sender.port = program.secret, program.port
        sender.connect()
        try:
            for count in range(10_000):
                path = b"%d/%d" % (number, count)
                if sender.send_file("file.created", whole_file(path, path * 20)) == 204:
                    acknowledged.add(path)
                if len(acknowledged) > 400 and not killed.is_set():
                    killed.set()
                    program.process.kill()
        except OSError:
            assert killed.is_set()
        finally:
            sender.connection.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(client, range(8)))
    program.stop(signal.SIGKILL)
    program.start()
    held = program.files()
    assert acknowledged <= set(held)
    assert all(content == path * 20 for path, (_, content) in held.items())


def test_sigterm_ends_it_with_0_and_without_a_word(program: Program) -> None:
    program.send_file("file.created", whole_file(b"a.md", b"alpha"))
    assert program.stop() == 0
    assert program.errors.read_text() == ""


@pytest.mark.parametrize(
    ("secrets", "said"),
    [("", "the secret file is empty"), ("whsec_\n", "no whsec_ secret"), ("whsec_é", "no whsec_ secret")],
)
def test_a_start_that_cannot_work_says_why(program: Program, secrets: str, said: str) -> None:
    program.stop()
    program.secret_file.write_text(secrets, encoding="utf-8")
    with pytest.raises(AssertionError, match=f"^receiver: cannot start: .*{said}"):
        program.start()
    assert program.process.wait(10) == 2
    assert program.process.stdout is not None
    program.process.stdout.close()

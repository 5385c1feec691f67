"""Runs against the example receiver as a process of its own: secrets that are exchanged, and a secret that two have."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from syncsvc.delivery.signing import Signing
from syncsvc.models import App, Operation, SyncRun
from syncsvc.operations.asker import Asker
from syncsvc.operations.secrets import rotate
from tests.factories import AppFactory, RepositoryFactory, SubscriptionFactory
from tests.receiver_program.program import Program
from tests.sync.world import World

ASKER = Asker(name="a test", source=Operation.Source.COMMAND)


@pytest.fixture
def program(world: World, tmp_path: Path) -> Iterator[Program]:
    """Takes what is for the world's app."""
    (tmp_path / "program").mkdir()
    program = Program(tmp_path / "program")
    know(program, world.app.secret.reveal())
    program.start("--app-id", str(world.app.id))
    App.objects.update(url=f"http://127.0.0.1:{program.port}/")
    yield program
    program.stop()


def know(program: Program, *secrets: str) -> None:
    program.secret_file.write_text("".join(f"{secret}\n" for secret in secrets), encoding="ascii")


def change(world: World, content: bytes) -> SyncRun:
    world.repo.commit({"a.md": content})
    return world.run()


def held(program: Program) -> Any:
    return program.files().get(b"a.md", (None, None))[1]


def test_a_secret_is_exchanged_for_a_key_pair_without_a_refusal(world: World, program: Program) -> None:
    shared = world.app.secret.reveal()
    assert change(world, b"by the secret\n").outcome == "synced"

    rotated = rotate(world.app.id, ASKER, signing=Signing.ED25519)
    assert change(world, b"by both, to who knows the old\n").outcome == "synced"
    know(program, rotated.public_key)
    assert change(world, b"by both, to who knows the new\n").outcome == "synced"
    App.objects.update(previous_secrets=[])
    assert change(world, b"by the key alone\n").outcome == "synced"
    know(program, shared)
    assert change(world, b"to who has only the secret that ended\n").error_kind == "endpoint_rejected"

    assert held(program) == b"by the key alone\n"
    assert program.status()["rejected"] >= 1
    assert App.objects.get().signers(timezone.now())[0].public_key == rotated.public_key


def test_an_app_with_the_same_secret_cannot_write_into_anothers_files(world: World, program: Program) -> None:
    assert change(world, b"mine\n").outcome == "synced"
    other = AppFactory(name="other", url=App.objects.get().url, secret=world.app.secret.reveal())
    world.id = SubscriptionFactory(app=other, repository=RepositoryFactory(url=str(world.repo.path))).id

    run = change(world, b"the other's\n")

    assert (run.outcome, run.error_kind) == ("postponed", "endpoint_rejected")
    assert held(program) == b"mine\n"
    assert "signed for another app" in program.errors.read_text()

"""What a run has still to send: nothing is lost, nothing comes twice, and what must wait holds up nothing else."""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from syncsvc.git.mirror import Mirror
from syncsvc.git.remote import GitLimits, Remote
from syncsvc.sync.cargo import Batch, Cargo, Parts, Ping, Refusal, Single
from syncsvc.sync.loading import Damaged
from syncsvc.sync.outbox import AGAIN_BYTES, Outbox
from syncsvc.types import Change, ChangeKind, ErrorKind

DELAYS = (1.0, 4.0)


def single(name: str, size: int = 1, *, known_bad: bool = False) -> Single:
    change = Change(ChangeKind.CREATED, name.encode(), "100644", "ab" * 20, size, None, "an id")
    return Single(change, b"x" * size, known_bad)


def big(name: str) -> Parts:
    limits = GitLimits(timeout=1, ls_remote_timeout=1, allow_local=True)
    mirror = Mirror(Path("/nowhere"), Remote("https://git.example/a.git"), limits)
    return Parts(
        Change(ChangeKind.CREATED, name.encode(), "100644", "ab" * 20, 99, None, "an id"), mirror, part_bytes=9
    )


def outbox(*cargo: Cargo | Damaged) -> Outbox:
    return Outbox(iter(cargo), resend_delays=DELAYS)


def name_of(cargo: Cargo | Damaged | None) -> str:
    assert cargo is not None
    assert not isinstance(cargo, Damaged)
    return "ping" if isinstance(cargo, Ping) else cargo.changes[0].path.decode()


def all_of(box: Outbox, now: float = 0.0, *, parts: bool = True) -> list[str]:
    """What can be taken at this moment."""
    return [name_of(cargo) for cargo in iter(lambda: box.take(now, parts=parts), None)]


def take(box: Outbox, now: float = 0.0) -> Cargo:
    cargo = box.take(now, parts=True)
    assert cargo is not None
    assert not isinstance(cargo, Damaged)
    return cargo


def ping() -> Ping:
    return Ping("id", "name", is_final=False)


def test_cargo_comes_in_order_and_is_loaded_as_it_is_taken() -> None:
    loaded: list[str] = []

    def load(names: Iterable[str]) -> Iterator[Cargo]:
        for name in names:
            loaded.append(name)
            yield single(name)

    box = Outbox(load("abc"), resend_delays=DELAYS)
    assert name_of(take(box)) == "a"
    assert loaded == ["a"]
    assert (all_of(box), box.is_empty) == (["b", "c"], True)


def test_what_was_put_back_is_the_next_one() -> None:
    box = outbox(*map(single, "abc"))
    first = take(box)
    box.put_back(first)

    assert all_of(box) == ["a", "b", "c"]


def test_a_second_chance_comes_after_its_delay_while_others_go_on() -> None:
    box = outbox(*map(single, "abc"))
    first = take(box)

    assert box.send_again(first, 0.0)
    assert (all_of(box, 0.9), box.is_empty, box.has_nothing_new) == (["b", "c"], False, True)
    assert box.due_in(0.25) == 0.75
    assert all_of(box, 1.0) == ["a"]
    assert box.send_again(first, 1.0)
    assert (all_of(box, 4.9), all_of(box, 5.0)) == ([], ["a"])
    assert not box.send_again(first, 5.0), "it has had all"
    assert box.is_empty


def test_what_is_final_has_no_second_chance() -> None:
    batch = Batch()
    for name in "abc":
        batch.add(single(name), b"{}")
    batch.refusal = Refusal(ErrorKind.ENDPOINT_ERROR, "It failed.")
    box = outbox()
    box.put_first(batch.split())

    taken = [take(box) for _ in "abc"]

    assert [box.send_again(cargo, 0.0) for cargo in taken] == [False] * 3
    assert {cargo.refusal for cargo in taken} == {batch.refusal}


def test_big_files_stand_aside_while_enough_are_on_their_way() -> None:
    box = outbox(big("big"), single("a"))
    parts = take(box)
    assert isinstance(parts, Parts)
    assert box.put_aside(parts)

    assert all_of(box, parts=False) == ["a"]
    assert not box.is_empty
    assert all_of(box, parts=True) == ["big"]


def test_while_a_question_is_open_nothing_else_goes_out() -> None:
    box = outbox(single("a"))
    box.put_back(single("first"))
    question = ping()
    box.ask(question)

    assert name_of(take(box)) == "ping"
    assert box.is_asking
    box.put_back(question)
    assert name_of(take(box)) == "ping", "it was throttled, and is asked again"
    assert box.send_again(question, 0.0)
    assert (all_of(box, 0.5), box.due_in(0.5)) == ([], 0.5)
    assert name_of(take(box, 1.0)) == "ping"
    box.answer()
    assert all_of(box) == ["first", "a"]


def test_what_was_not_answered_waits_for_proof_that_anything_is() -> None:
    box = outbox(*map(single, "ab"))
    silent = take(box)
    assert box.wait_for_proof(silent)
    assert all_of(box, 99.0) == ["b"]
    assert box.is_empty, "unless proof comes it has failed"
    assert not box.needs_proof, "and is not worth a question"

    box.proven(100.0)

    assert (all_of(box, 100.9), all_of(box, 101.0)) == ([], ["a"])


def test_a_batch_is_worth_a_question() -> None:
    """One of its files may be to blame."""
    batch = Batch()
    for name in "ab":
        batch.add(single(name), b"{}")
    box = outbox(batch, single("c"))
    assert box.wait_for_proof(take(box))
    assert all_of(box) == ["c"]
    assert box.needs_proof
    assert box.give_up_unproven() == [batch]
    assert not box.needs_proof


def test_memory_has_a_limit_whatever_waits_for_a_second_chance() -> None:
    size = AGAIN_BYTES // 4
    box = outbox(*(single(f"{n}", size) for n in range(9)))
    for _ in range(4):
        assert box.send_again(take(box), 0.0)

    assert box.take(0.5, parts=True) is None
    assert not box.is_empty
    assert name_of(take(box, 1.0)) == "0"
    assert name_of(take(box, 1.0)) == "1"


def test_memory_has_a_limit_where_nothing_is_answered_at_all() -> None:
    size = AGAIN_BYTES // 4
    box = outbox(*(single(f"{n}", size) for n in range(9)))
    for _ in range(4):
        assert box.wait_for_proof(take(box))

    assert (box.take(99.0, parts=True), box.needs_proof) == (None, True)
    assert len(box.give_up_unproven()) == 4
    assert name_of(take(box)) == "4"


def test_spreading_mixes_what_comes_next_and_puts_known_bad_ones_last() -> None:
    names = [f"{n:02}" for n in range(60)]
    box = outbox(*(single(name, known_bad=name < "10") for name in names))
    first = take(box)

    box.spread()

    order = all_of(box)
    assert sorted([name_of(first), *order]) == names
    assert order != sorted(order)
    assert set(order[-9:]) == set(names[1:10])


moves = st.lists(
    st.sampled_from(["take", "finish", "put back", "again", "proof", "proven", "spread", "later", "aside", "give up"]),
    max_size=60,
)


@given(st.lists(st.booleans(), max_size=12), moves)
def test_no_message_is_lost_and_none_comes_twice(are_big: list[bool], moves: list[str]) -> None:
    names = [f"{n}" for n in range(len(are_big))]
    box = outbox(*(big(name) if is_big else single(name) for name, is_big in zip(names, are_big, strict=True)))
    out: list[Cargo] = []
    ended: list[Cargo] = []
    now = 0.0
    for move in moves:
        match move:
            case "take":
                cargo = box.take(now, parts=True)
                if cargo is not None:
                    assert not isinstance(cargo, Damaged)
                    out.append(cargo)
            case "proven":
                box.proven(now)
            case "spread":
                box.spread()
            case "later":
                now += 1.5
            case "give up":
                ended += box.give_up_unproven()
            case _ if not out:
                pass
            case "finish":
                ended.append(out.pop())
            case "put back":
                box.put_back(out.pop())
            case "again" | "proof":
                cargo = out.pop()
                kept = box.send_again(cargo, now) if move == "again" else box.wait_for_proof(cargo)
                ended += [] if kept else [cargo]
            case "aside" if isinstance(out[-1], Parts):
                parts = out.pop()
                assert isinstance(parts, Parts)
                box.put_aside(parts)
        assert box.is_empty <= box.has_nothing_new
    while (cargo := box.take(now := now + 9, parts=True)) is not None:
        assert not isinstance(cargo, Damaged)
        ended.append(cargo)
    ended += [*out, *box.drop()]

    assert Counter(map(name_of, ended)) == Counter(names)
    assert box.is_empty
    assert box.drop() == []

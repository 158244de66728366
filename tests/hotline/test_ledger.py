"""The ledger is append-only, signed and in order; whoever touches it is named by the entry that no longer verifies."""

from __future__ import annotations

import sqlite3
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hotline import keys
from hotline.errors import IntegrityError, RefusedError, UnavailableError
from hotline.ledger import GENESIS, Chain, Ledger
from hotline.policy import Signer, Signers
from hotline.records import ModelAddress, Promotion, Rollback

SITE, TASK = "site", "ticket_category"


class Desk:
    """A folder with a ledger, and the key that may write into it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / "ledger.db"
        self.key = keys.create(folder / "keys", "operator")
        self.signers = Signers(
            schema_version=1, signers=(Signer(name="op", public_key=self.key.public, roles=("operator",)),)
        )

    def ledger(self) -> Ledger:
        return Ledger(f"sqlite:///{self.path}", SITE, self.signers)

    def fill(self, count: int) -> Ledger:
        ledger = self.ledger()
        for number in range(count):
            ledger.append(lambda _, number=number: promotion(number), self.key)
        return ledger

    def run(self, statement: str, *values: object) -> None:
        with sqlite3.connect(self.path) as store:
            assert store.execute(statement, values).rowcount >= 1
        store.close()


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def digest(number: int) -> str:
    return f"{number:064x}"


def promotion(number: int, task: str = TASK, site: str = SITE) -> Promotion:
    model = ModelAddress(line="tickets", version=str(number), digest=digest(number), files={}, run_id="r")
    return Promotion(
        site=site, task=task, time="2026-01-01T00:00:00+00:00", model=model, verdict=digest(0), previous_champion=None,
        reason="路燈",
    )  # fmt: skip


def rollback(number: int, away_from: int) -> Rollback:
    fields = promotion(number).model_dump(exclude={"kind", "previous_champion", "approvals"})
    return Rollback(**fields, previous_champion=digest(away_from))


def test_entries_come_back_as_written_and_each_names_the_one_before(desk: Desk) -> None:
    chain = desk.fill(3).read()
    assert [entry.record.model.version for entry in chain.entries] == ["0", "1", "2"]
    assert [entry.prev_hash for entry in chain.entries] == [GENESIS, *(entry.hash for entry in chain.entries[:2])]
    assert chain.head == chain.entries[-1].hash
    assert chain.by_seq(2) == chain.by_hash(chain.entries[1].hash) == chain.entries[1]
    assert chain.by_seq(0) is chain.by_seq(4) is chain.by_hash("x") is None


def test_an_empty_ledger_is_a_chain_without_champions(desk: Desk) -> None:
    chain = desk.ledger().read()
    assert (chain.head, chain.champions(), chain.champion(TASK), chain.previous(TASK)) == (GENESIS, {}, None, None)


@pytest.mark.parametrize("column", ["body", "hash", "signature", "public_key", "prev_hash"])
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_an_edited_character_anywhere_names_its_entry(
    column: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    desk = Desk(tmp_path_factory.mktemp("edited"))
    chain = desk.fill(3).read()
    number = data.draw(st.integers(1, 3))
    text = getattr(chain.entries[number - 1], column)
    place = data.draw(st.integers(0, len(text) - 1))
    new = data.draw(st.sampled_from('0123456789abcdef{}",x').filter(lambda c: c != text[place]))
    desk.run(f"UPDATE ledger SET {column} = ? WHERE seq = ?", text[:place] + new + text[place + 1 :], number)
    with pytest.raises(IntegrityError, match=f"ledger entry {number}:"):
        desk.ledger().read()


def test_an_edit_is_named_by_a_process_that_had_read_the_entry_before(desk: Desk) -> None:
    ledger = desk.fill(3)
    ledger.read()
    desk.run("UPDATE ledger SET body = replace(body, '路燈', '路灯') WHERE seq = 2")
    with pytest.raises(IntegrityError, match="ledger entry 2: the entry was edited: its hash"):
        ledger.read()


def test_a_deleted_entry_is_named(desk: Desk) -> None:
    desk.fill(3)
    desk.run("DELETE FROM ledger WHERE seq = 2")
    with pytest.raises(IntegrityError, match="ledger entry 2: the chain is broken"):
        desk.ledger().read()


def test_two_exchanged_entries_are_named(desk: Desk) -> None:
    desk.fill(3)
    for old, new in ((2, 20), (3, 2), (20, 3)):
        desk.run("UPDATE ledger SET seq = ? WHERE seq = ?", new, old)
    with pytest.raises(IntegrityError, match="ledger entry 2: the chain is broken"):
        desk.ledger().read()


def test_a_truncated_ledger_is_named_by_a_process_that_knew_more(desk: Desk) -> None:
    ledger = desk.fill(3)
    ledger.read()
    desk.run("DELETE FROM ledger WHERE seq = 3")
    with pytest.raises(IntegrityError, match="ledger entry 3: the ledger is shorter"):
        ledger.read()
    with pytest.raises(IntegrityError, match="shorter"):
        ledger.append(lambda _: promotion(9), desk.key)


def test_a_history_written_anew_with_the_right_key_is_named_by_a_process_that_knew_the_old_one(desk: Desk) -> None:
    ledger = desk.fill(3)
    ledger.read()
    desk.run("DELETE FROM ledger WHERE seq > 1")
    other = desk.ledger()
    for number in (7, 8, 9):
        other.append(lambda _, number=number: promotion(number), desk.key)
    with pytest.raises(IntegrityError, match="ledger entry 2: the ledger was written anew"):
        ledger.read()


def test_a_key_that_policy_does_not_list_may_not_write(desk: Desk) -> None:
    stranger = keys.create(desk.folder / "elsewhere", "operator")
    with pytest.raises(RefusedError, match="may not sign a promotion"):
        desk.ledger().append(lambda _: promotion(1), stranger)
    assert desk.ledger().read().entries == ()


def test_a_key_of_another_role_may_not_write(desk: Desk) -> None:
    gate = Signers(schema_version=1, signers=(Signer(name="g", public_key=desk.key.public, roles=("gate",)),))
    with pytest.raises(RefusedError, match="the role operator"):
        Ledger(f"sqlite:///{desk.path}", SITE, gate).append(lambda _: promotion(1), desk.key)


def test_an_entry_whose_signer_lost_the_role_no_longer_verifies(desk: Desk) -> None:
    desk.fill(2)
    nobody = Signers(schema_version=1, signers=())
    with pytest.raises(IntegrityError, match="ledger entry 1: the entry was not signed by somebody who may"):
        Ledger(f"sqlite:///{desk.path}", SITE, nobody).read()


def test_another_sites_record_is_not_written(desk: Desk) -> None:
    with pytest.raises(RefusedError, match="another site"):
        desk.ledger().append(lambda _: promotion(1, site="elsewhere"), desk.key)


def test_a_ledger_that_cannot_be_opened_is_unavailable(desk: Desk) -> None:
    with pytest.raises(UnavailableError, match="hotline doctor"):
        Ledger(f"sqlite:///{desk.folder}/missing/ledger.db", SITE, desk.signers).read()


def test_what_decide_raises_is_raised_and_nothing_is_written(desk: Desk) -> None:
    def refuse(_: Chain) -> Promotion:
        raise RefusedError("stale")

    with pytest.raises(RefusedError, match="stale"):
        desk.ledger().append(refuse, desk.key)
    assert desk.ledger().read().entries == ()


def test_the_slower_of_two_writers_decides_again_on_the_new_head(desk: Desk) -> None:
    heads: list[int] = []

    def decide(chain: Chain) -> Promotion:
        heads.append(len(chain.entries))
        if len(heads) == 1:
            desk.ledger().append(lambda _: promotion(1), desk.key)  # somebody else is faster
        return promotion(2)

    desk.ledger().append(decide, desk.key)
    assert heads == [0, 1]
    assert [entry.record.model.version for entry in desk.ledger().read().entries] == ["1", "2"]


def test_of_two_threads_that_promote_against_the_same_champion_one_wins(desk: Desk) -> None:
    barrier = threading.Barrier(2)
    met = threading.local()

    def decide(chain: Chain, number: int) -> Promotion:
        if not getattr(met, "once", False):
            met.once = True
            barrier.wait()  # both have read the empty chain
        if chain.champion(TASK):
            raise RefusedError("stale")
        return promotion(number)

    def write(number: int) -> str:
        try:
            desk.ledger().append(lambda chain: decide(chain, number), desk.key)
        except RefusedError as error:
            return error.what
        return "won"

    desk.ledger().read()
    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(write, (1, 2))) == ["stale", "won"]
    assert len(desk.ledger().read().entries) == 1


def append_some(url: str, folder: Path, signers: Signers, first: int) -> None:
    ledger, key = Ledger(url, SITE, signers), keys.load(folder, "operator")
    for number in range(first, first + 5):
        ledger.append(lambda _, number=number: promotion(number), key)


def test_two_processes_that_append_at_once_both_land_on_one_valid_chain(desk: Desk) -> None:
    with ProcessPoolExecutor(2, mp_context=get_context("forkserver")) as pool:
        work = [
            pool.submit(append_some, f"sqlite:///{desk.path}", desk.folder / "keys", desk.signers, first)
            for first in (10, 20)
        ]
        for done in work:
            done.result(timeout=60)
    chain = desk.ledger().read()
    assert {int(entry.record.model.version) for entry in chain.entries} == {*range(10, 15), *range(20, 25)}


def test_the_champion_is_the_newest_promotion_or_rollback_of_the_task(desk: Desk) -> None:
    ledger = desk.fill(2)
    ledger.append(lambda _: promotion(5, task="other"), desk.key)
    chain = ledger.read()
    champions = {task: champion.record.model.version for task, champion in chain.champions().items()}
    assert champions == {TASK: "1", "other": "5"}


def test_a_rollback_goes_down_the_pile_and_never_back_to_what_was_rolled_away(desk: Desk) -> None:
    ledger = desk.fill(3)

    def previous() -> str | None:
        found = ledger.read().previous(TASK)
        return found.record.model.version if found else None

    assert previous() == "1"
    ledger.append(lambda _: rollback(1, away_from=2), desk.key)
    assert previous() == "0"
    ledger.append(lambda _: rollback(0, away_from=1), desk.key)
    assert previous() is None
    ledger.append(lambda _: promotion(2), desk.key)
    assert previous() == "0"

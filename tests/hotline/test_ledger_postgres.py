"""The ledger in PostgreSQL, as a team has it: writers at once, a server that stops and comes back."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hotline import keys
from hotline.errors import UnavailableError
from hotline.keys import SigningKey
from hotline.ledger import Ledger
from hotline.policy import Signer, Signers
from hotline.records import ModelAddress, Promotion
from tests.postgres import SECRET, Postgres


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return keys.create(tmp_path / "keys", "operator")


def ledger(postgres: Postgres, key: SigningKey) -> Ledger:
    """A writer of its own, with its own connections."""
    signer = Signer(name="op", public_key=key.public, roles=("operator",))
    return Ledger(postgres.url, "site", Signers(schema_version=1, signers=(signer,)))


def promotion(number: int) -> Promotion:
    return Promotion(
        site="site",
        task="ticket_category",
        time="2026-01-01T00:00:00+00:00",
        model=ModelAddress(line="tickets", version=str(number), digest=f"{number:064x}", files={}, run_id="r"),
        verdict="a" * 64,
        previous_champion=None,
        reason="test",
    )


def test_writers_at_once_make_one_chain(postgres: Postgres, key: SigningKey) -> None:
    def write(writer: int) -> None:
        own = ledger(postgres, key)
        for number in range(5):
            own.append(lambda _, number=number: promotion(10 * writer + number), key)  # type: ignore[misc]

    with ThreadPoolExecutor(4) as writers:
        list(writers.map(write, range(4)))
    chain = ledger(postgres, key).read()
    assert sorted(entry.seq for entry in chain.entries) == list(range(1, 21))
    assert len({entry.body for entry in chain.entries}) == 20


def test_while_the_server_is_stopped_it_is_unavailable_and_read_again_at_once_after(
    postgres: Postgres, key: SigningKey
) -> None:
    known = ledger(postgres, key)
    first = known.append(lambda _: promotion(1), key)
    postgres.stop()
    with pytest.raises(UnavailableError, match="does not answer") as told:
        known.read()
    assert SECRET not in str(told.value)
    with pytest.raises(UnavailableError, match="cannot be opened") as told:
        ledger(postgres, key).read()
    assert SECRET not in str(told.value)
    postgres.start()
    assert [entry.hash for entry in known.read().entries] == [first.hash]
    postgres.stop()
    postgres.start()  # nobody asked meanwhile
    known.append(lambda _: promotion(2), key)
    assert len(ledger(postgres, key).read().entries) == 2

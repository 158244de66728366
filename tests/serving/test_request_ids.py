from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotline import requests
from hotline.errors import InputError

digests_ = st.text("0123456789abcdef", min_size=64, max_size=64)


@given(st.from_regex(r"[a-z][a-z0-9_]{0,30}", fullmatch=True), digests_, st.integers(1, 10**9))
def test_an_id_names_task_version_and_ledger_entry(task: str, digest: str, promotion: int) -> None:
    read = requests.parse(requests.make(task, digest, promotion))
    assert (read.task, read.digest, read.promotion) == (task, digest[:12], promotion)


def test_an_id_knows_when_the_request_came_in() -> None:
    before = time.time()
    read = requests.parse(requests.make("ticket_category", "a" * 64, 1))
    assert before - 0.01 <= read.time.timestamp() <= time.time()


def test_an_id_is_safe_in_headers_and_addresses() -> None:
    assert re.fullmatch(r"[A-Za-z0-9._-]+", requests.make("ticket_category", "a" * 64, 17))


def test_ids_are_never_given_out_twice() -> None:
    ids = {requests.make("ticket_category", "a" * 64, 1) for _ in range(10_000)}
    assert len(ids) == 10_000


@given(st.text())
def test_nonsense_is_refused_with_an_input_error(text: str) -> None:
    with pytest.raises(InputError, match="not the request id"):
        requests.parse(text)


def test_a_stamp_of_another_uuid_version_is_refused() -> None:
    with pytest.raises(InputError):
        requests.parse(f"ticket_category.{'a' * 12}.1.00000000-0000-4000-8000-000000000000")

"""An error says what, where, found against expected, and the next command, to people and to machines."""

from __future__ import annotations

import pytest

from hotline import errors
from hotline.errors import HotlineError, RefusedError


def test_a_message_reads_top_down_and_ends_with_what_to_do() -> None:
    error = RefusedError(
        "no verdict", where="tickets@3", found=0, expected="a passed one", next="hotline judge tickets"
    )
    assert str(error).splitlines() == [
        "no verdict",
        "  where:    tickets@3",
        "  found:    0",
        "  expected: a passed one",
        "  next:     hotline judge tickets",
    ]
    assert error.as_dict()["code"] == "refused"
    assert error.as_dict()["next"] == "hotline judge tickets"


def test_what_is_not_known_is_left_out() -> None:
    assert str(RefusedError("no")) == "no"
    assert RefusedError("no").as_dict() == {"code": "refused", "message": "no"}


@pytest.mark.parametrize("kind", [kind for kind in vars(errors).values() if isinstance(kind, type)])
def test_every_error_ends_the_process_and_has_a_status_and_a_place_in_the_tree(kind: type) -> None:
    if not issubclass(kind, HotlineError):
        return
    assert kind.exit_code != 0
    assert 400 <= kind.http_status < 600
    assert kind.__name__ in (errors.__doc__ or "")

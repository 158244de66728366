"""What `hotline serve` is told of engines and replicas becomes options, or an error that names the mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from hotline.errors import InputError
from hotline.settings import Settings, load
from serving.engines.choice import options


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy" / "site.yaml").touch()
    return load(tmp_path)


def test_replicas_are_a_number_or_a_range_by_task(settings: Settings) -> None:
    found = options(settings, (), None, None, "python", ["ticket_category=2", "transcription=1-4"], 3)
    assert found.copies == {"ticket_category": (2, 2), "transcription": (1, 4)}
    assert found.threads == 3


@pytest.mark.parametrize("named", ["ticket_category", "ticket_category=0", "ticket_category=4-2", "ticket_category=-1"])
def test_what_is_no_number_of_replicas_is_refused_by_name(settings: Settings, named: str) -> None:
    with pytest.raises(InputError, match="number of replicas") as refused:
        options(settings, (), None, None, "python", [named])
    assert named in str(refused.value)


def test_replicas_of_a_task_that_there_is_not_are_refused(settings: Settings) -> None:
    with pytest.raises(InputError, match="no task named"):
        options(settings, (), None, None, "python", ["tickets=2"])

"""A workspace of one's own per test, and a mapping over three columns."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from data import mapping as mappings
from data.ingest import import_table
from data.report import ImportReport
from hotline.settings import Settings
from hotline.task import Task
from hotline.tasks import find

MAPPING = """
columns:
  id: id
  input.text: text
  target.label: label
  provenance.caller_id: caller
max_quarantined: 0.9
"""
HEADER = ("id", "text", "label", "caller")
Record = Sequence[str]
Import = Callable[..., ImportReport]


@pytest.fixture(scope="session", autouse=True)
def great_expectations() -> None:
    """Imported once; a library of its cloud stores warns about an optional package that nothing here uses."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Please install grpcio-status", ImportWarning)
        import great_expectations  # noqa: F401


@pytest.fixture
def place(tmp_path: Path) -> Settings:
    """A bare workspace."""
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy" / "site.yaml").write_text("schema_version: 1\nsite: here\nprofile: demo\n")
    keys = tmp_path / "keys"
    return Settings(workspace=tmp_path, tracking_uri="unused", ledger_url="unused", keys=keys)


@pytest.fixture
def task() -> Task:
    return find("ticket_category")


@pytest.fixture
def mapped(tmp_path: Path) -> Callable[[str], mappings.Mapping]:
    """The mapping with that text, from a file."""

    def write(text: str = MAPPING) -> mappings.Mapping:
        path = tmp_path / "mapping.yaml"
        path.write_text(text, encoding="utf-8")
        return mappings.load(path)

    return write


@pytest.fixture
def run(place: Settings, task: Task, mapped: Callable[[str], mappings.Mapping]) -> Import:
    """Import these records under the standard mapping, or another one, from a CSV of that name."""

    def run(
        records: Sequence[Record], mapping: str = MAPPING, name: str = "rows.csv", header: Sequence[str] = HEADER
    ) -> ImportReport:
        path = place.workspace / name
        with path.open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows([header, *records])
        return import_table(place, task, mapped(mapping), [path])

    return run

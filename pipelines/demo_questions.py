"""The demo's questions: a list of entries and what callers ask, left in the workspace for whoever wants to try them."""

from __future__ import annotations

from pathlib import Path

from hotline.settings import Settings

SOURCE = Path("data") / "incoming" / "questions.xlsx"
ROWS, SEED = 4000, 20260


def make_source(here: Settings) -> None:
    """The generated spreadsheet; kept when it is there."""
    from data import questions

    source = here.workspace / SOURCE
    if not source.exists():
        source.parent.mkdir(parents=True, exist_ok=True)
        questions.write_xlsx(source, ROWS, SEED)

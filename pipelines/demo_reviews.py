"""The demo's contents to review: a table in its workspace, for `dvc repro judge@review_label`."""

from __future__ import annotations

from pathlib import Path

from hotline.settings import Settings

SOURCE = Path("data") / "incoming" / "reviews.csv"
ROWS, SEED = 8000, 20260


def make_source(here: Settings, rows: int = ROWS) -> None:
    """The generated table; kept when it is there."""
    from data import reviews

    source = here.workspace / SOURCE
    if not source.exists():
        source.parent.mkdir(parents=True, exist_ok=True)
        reviews.write_csv(source, rows, SEED)

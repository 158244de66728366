"""The before-and-after table as one self-contained page, 中文 beside English."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader

from pipelines.before_after import Report


def write(path: Path, reports: Sequence[Report]) -> None:
    """The page; its folder is made when it is not there."""
    environment = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, loader=FileSystemLoader(Path(__file__).parent)
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(environment.get_template("before_after.html").render(reports=reports), encoding="utf-8")

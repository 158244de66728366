"""How commands print: tables and notes for people, one JSON line for machines."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import typer

PIPE_COLUMNS = 240
"""A file has no edge to fold lines at."""
Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout instead of text.")]


def as_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False))


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table on stdout; colours and borders vanish in a pipe."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_COLUMNS)
    shown = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD, header_style="bold")
    for column in columns:
        shown.add_column(column, overflow="fold")
    for row in rows:
        shown.add_row(*(_cell(value) for value in row))
    console.print(shown)


def note(text: str, style: str = "") -> None:
    """A line on stdout."""
    from rich.console import Console
    from rich.text import Text

    Console(highlight=False, soft_wrap=True).print(Text(text, style=style))


def stage(text: str) -> None:
    """What begins now, on stderr, where a person watches."""
    if sys.stderr.isatty():
        print(f"… {text}", file=sys.stderr)


def track(items: Iterable[Any], total: int, what: str) -> Iterable[Any]:
    """The items, with a bar on stderr where a person watches."""
    if not sys.stderr.isatty():
        return items
    from rich.console import Console
    from rich.progress import track as shown

    return shown(items, what, total=total, console=Console(stderr=True), transient=True)


def _cell(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else "" if value is None else str(value)

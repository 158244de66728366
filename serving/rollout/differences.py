"""The worst pairs of a version and the champion, as JSON and as a page, which stay in the state folder."""

from __future__ import annotations

import html
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from serving.rollout.counts import Key, Pair
from serving.rollout.falls import write
from serving.routes import Route

_HEAD = """<!doctype html><meta charset="utf-8"><title>{title}</title>
<style>body{{font:15px/1.5 sans-serif;margin:2em auto;max-width:75em;padding:0 1em}}table{{border-collapse:collapse}}
td,th{{border-bottom:1px solid #ccc;padding:.3em .8em;text-align:left;vertical-align:top}}</style><h1>{title}</h1>"""


def keep(folder: Path, route: Route, against: Route, counts: Mapping[Key, int], pairs: Sequence[Pair]) -> Path:
    """Write `differences.json` and `.html` of that version; gives back their folder."""
    place = folder / "rollout" / route.app
    values = sorted({key[1] for key in counts if key[0] == route.app})
    slices = {
        value or "all": {what: counts.get((route.app, value, what), 0) for what in ("compared", "differed")}
        for value in values
    }
    content = {
        "task": route.task,
        "version": f"{route.line}@{route.version}",
        "champion": f"{against.line}@{against.version}",
        "slices": slices,
        "worst": [pair._asdict() for pair in pairs],
    }
    write(place / "differences.json", json.dumps(content, ensure_ascii=False, indent=1))
    write(place / "differences.html", page(content))
    return place


def forget(folder: Path, days: float) -> None:
    """Delete what was written about versions that have not been compared for so long."""
    for path in (folder / "rollout").glob("*/differences.json"):
        if time.time() - path.stat().st_mtime > 86_400 * days:
            shutil.rmtree(path.parent)


def page(content: Mapping[str, Any]) -> str:
    """The same for people."""
    title = f"{content['version']} beside {content['champion']}: {content['task']}"
    counted = [(name, each["compared"], each["differed"]) for name, each in content["slices"].items()]
    pairs = [
        (
            pair["slice"] or "all",
            f"{pair['distance']:.2f}",
            *(json.dumps(pair[side], ensure_ascii=False) for side in ("question", "champion", "candidate")),
        )
        for pair in content["worst"]
    ]
    return (
        head(title)
        + table(("slice", "compared", "differed"), counted)
        + table(("slice", "distance", "input", "champion", "candidate"), pairs)
    )


def head(title: str) -> str:
    """The beginning of a page that loads nothing from anywhere."""
    return _HEAD.format(title=html.escape(title))


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table of HTML; everything in it is text."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"

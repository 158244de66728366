"""A comparison as one self-contained HTML file: it asks nothing of the network, and opens from a disk or a mail."""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

from evaluation import page_rows
from evaluation.compare import Comparison, System
from evaluation.page_background import Background, Site, bars, gather
from hotline.records import Figure, ModelAddress
from hotline.settings import Settings
from hotline.text import SCORED

FOLDER = Path(__file__).parent / "pages"
CLIPS = 20
_COMPRESSION = 9
_CHUNK = 16_384
"""Characters of base64 per line, so that editors open the file."""


def write(settings: Settings, comparison: Comparison, path: Path | None = None, clips: int = CLIPS) -> Path:
    """The page, with the sound of the `clips` worst rows; gives back where it is.

    Without a path it is evaluation/comparisons/TASK-A-B.html in the workspace. It holds what callers said: treat it
    as the corpus. Raises IntegrityError when the ledger does not verify.
    """
    place = path or settings.comparisons / f"{_name(comparison)}.html"
    site, backgrounds = gather(settings, comparison)
    text = render(comparison, site, backgrounds, clips)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text, encoding="utf-8")
    return place


def _name(comparison: Comparison) -> str:
    named = [comparison.task, *(system.name for system in comparison.systems)]
    return re.sub(r"[^\w@.-]", "_", "-".join(named))


def render(comparison: Comparison, site: Site, backgrounds: Sequence[Background], clips: int = CLIPS) -> str:
    """The page's text. `backgrounds` are those of the systems, in order."""
    rows = page_rows.shown(comparison, clips)
    return fill(
        "compare.html",
        title=" / ".join(system.name for system in comparison.systems),
        clips=rows.pop("clips"),
        data=packed(_head(comparison, site, backgrounds) | {"rows": rows}),
    )


def fill(template: str, **values: Any) -> str:
    """The template of that name, filled."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, loader=FileSystemLoader(FOLDER))
    return environment.get_template(template).render(**values)


def packed(value: Any) -> str:
    """JSON, deflated, in base64: what DecompressionStream unpacks."""
    content = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    text = base64.b64encode(zlib.compress(content, _COMPRESSION)).decode()
    return "\n".join(text[start : start + _CHUNK] for start in range(0, len(text), _CHUNK))


def _head(comparison: Comparison, site: Site, backgrounds: Sequence[Background]) -> dict[str, Any]:
    task = comparison.declared
    return {
        "task": task.name,
        "summary": task.summary,
        "kind": page_rows.kind(task),
        "sound": task.audio_field is not None,
        "scores": [
            {
                "name": name,
                "higher": score.higher_is_better,
                "share": score.bounded or score.error_rate,
                "target": task.targets.get(name),
            }
            for name, score in task.scores.items()
        ],
        "bars": bars(comparison, site.profile),
        "site": site.name,
        "profile": site.profile,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "snapshot": comparison.test_snapshot,
        "test_rows": comparison.test_rows,
        "text_rules": SCORED.digest,
        "systems": [
            _system(system, background) for system, background in zip(comparison.systems, backgrounds, strict=True)
        ],
    }


def _system(system: System, background: Background) -> dict[str, Any]:
    return {
        "name": system.name,
        "digest": system.digest,
        "run": system.address.run_id if isinstance(system.address, ModelAddress) else None,
        "run_address": background.run_address,
        "trained_on": system.lineage.snapshot if system.lineage else None,
        "note": system.note,
        "usage": system.usage.words if system.usage else None,
        "champion": background.champion,
        "verdict": background.verdict,
        "figures": [_short(figure) for figure in system.figures],
        "differences": [_short(figure) for figure in system.differences],
        "curves": background.curves,
        "last": background.last,
    }


def _short(figure: Figure) -> list[Any]:
    return [figure.score, figure.slice, figure.value, figure.rows, figure.clusters, *_ends(figure)]


def _ends(figure: Figure) -> list[float | None]:
    return [None if end is None else round(end, 5) for end in (figure.estimate, figure.low, figure.high)]

"""The demo as one page: clips to play, what was heard, scores with intervals, verdicts, and the curves of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

from hotline import registry
from hotline.records import Figure, Verdict
from hotline.settings import Settings

CURVES = ("train/loss", "validation/loss")
WIDTH, HEIGHT, MARGIN = 560, 200, 36


def write(
    here: Settings,
    place: Path,
    corpora: Mapping[str, Any],
    verdicts: Mapping[str, Verdict],
    scores: Mapping[str, Any],
    heard: Sequence[Mapping[str, Any]],
    answers: Sequence[Mapping[str, Any]],
) -> Path:
    """The page and the clips beside it; gives back the page's path."""
    page = here.workspace / place
    (page.parent / "clips").mkdir(parents=True, exist_ok=True)
    for clip in heard:
        (page.parent / "clips" / f"{clip['dialect']}.wav").write_bytes(clip["wav"])
    environment = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, loader=FileSystemLoader(Path(__file__).parent)
    )
    text = environment.get_template("demo_report.html").render(
        corpora=corpora,
        verdicts=verdicts,
        scores=scores,
        heard=heard,
        answers=answers,
        bars=[
            _bar(figure) for figure in verdicts["speech"].figures if (figure.score, figure.slice) == ("cer", "dialect")
        ],
        curves={line: _curves(here, verdict.model.run_id) for line, verdict in verdicts.items() if line != "dialects"},
        width=WIDTH,
        height=HEIGHT,
    )
    page.write_text(text, encoding="utf-8")
    return page


def _bar(figure: Figure) -> dict[str, Any]:
    """A score with its interval as percentages of a bar of 50 % CER."""
    share = [min(100.0, 200 * (value or 0.0)) for value in (figure.estimate, figure.low, figure.high)]
    return {"figure": figure, "at": share[0], "low": share[1], "width": max(0.5, share[2] - share[1])}


def _curves(here: Settings, run_id: str) -> dict[str, Any]:
    """The run's curves as SVG polylines, and the highest loss."""
    client = registry.connect(here.tracking_uri)
    series = {name: [(m.step, m.value) for m in client.get_metric_history(run_id, name)] for name in CURVES}
    points = [point for line in series.values() for point in line]
    if not points:
        return {}
    last, top = max(step for step, _ in points) or 1, max(value for _, value in points) or 1.0

    def polyline(line: Sequence[tuple[int, float]]) -> str:
        across, up = WIDTH - 2 * MARGIN, HEIGHT - 2 * MARGIN
        return " ".join(
            f"{MARGIN + across * step / last:.1f},{HEIGHT - MARGIN - up * value / top:.1f}"
            for step, value in sorted(line)
        )

    return {"lines": {name: polyline(line) for name, line in series.items()}, "steps": last, "top": round(top, 2)}

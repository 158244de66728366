"""What every version did, minute by minute, in files that outlive the endpoints: `hotline report` reads them.

One ingress process of the site writes, whichever holds the lock, from the counts of all. A line has sums and counts
only. Files are one a day, and are deleted after KEPT_DAYS.
"""

from __future__ import annotations

import contextlib
import json
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from serving.locks import locked
from serving.watch import meters
from serving.watch.meters import SECONDS

KEPT_DAYS = 400
"""A year's report can be compared with the year before."""
Totals = dict[tuple[str, str], dict[str, float]]


class Minute(BaseModel):
    """One version's minute, or several of them added up."""

    model_config = ConfigDict(extra="forbid")

    minute: str
    """UTC, ISO 8601, when it ended."""
    seconds: float
    """How long it was."""
    task: str
    version: str
    requests: int = 0
    sent_away: int = 0
    """Answered 429: too many waited."""
    failed: int = 0
    """Answered 5xx, or not at all."""
    answers: int = 0
    timeouts: int = 0
    response_seconds: float = 0.0
    buckets: tuple[int, ...] = ()
    """Requests by response time, up to each of SECONDS, and above the last."""
    audio_seconds: float = 0.0
    compute_seconds: float = 0.0


class Minutes:
    """Writes the minutes of one site."""

    def __init__(self, state: Path) -> None:
        self._folder = state / "watch" / "minutes"

    def write(self) -> None:
        """A line for every version that did something since the last time anybody wrote; nothing while another does."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with locked(self._folder / "lock") as mine:
            if mine:
                self._write(datetime.now(UTC))

    def _write(self, now: datetime) -> None:
        kept, totals = self._folder / "totals.json", _totals()
        with contextlib.suppress(OSError, ValueError):
            before = json.loads(kept.read_text(encoding="utf-8"))
            past = {(each["task"], each["version"]): each["counts"] for each in before["counts"]}
            seconds = (now - datetime.fromisoformat(before["time"])).total_seconds()
            lines = [_line(now, seconds, key, counts, past.get(key, {})) for key, counts in totals.items()]
            with (self._folder / f"{now:%Y-%m-%d}.jsonl").open("a", encoding="utf-8") as file:
                file.writelines(line.model_dump_json() + "\n" for line in lines if line)
        _keep(self._folder, now, totals)
        last = f"{now - timedelta(days=KEPT_DAYS):%Y-%m-%d}"
        for old in self._folder.glob("????-??-??.jsonl"):
            if old.stem < last:
                old.unlink()


def begin(state: Path) -> None:
    """Counting begins anew: what the endpoints before this start had counted is written already."""
    meters.clear(state)
    _keep(state / "watch" / "minutes", datetime.now(UTC), {})


def _keep(folder: Path, now: datetime, totals: Totals) -> None:
    """What was counted until now, for the next minute to begin from."""
    folder.mkdir(parents=True, exist_ok=True)
    counts = [{"task": task, "version": version, "counts": each} for (task, version), each in totals.items()]
    fresh = folder / "totals.new"
    fresh.write_text(json.dumps({"time": now.isoformat(), "counts": counts}), encoding="utf-8")
    fresh.replace(folder / "totals.json")


def read(state: Path, version: str) -> Iterator[Minute]:
    """Every minute of a version, in order."""
    for path in sorted((state / "watch" / "minutes").glob("????-??-??.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError):  # a line that was not written whole
                found = Minute.model_validate_json(line)
                if found.version == version:
                    yield found


def _totals() -> Totals:
    """What was counted of every version since the endpoints started, by all processes."""
    found: Totals = defaultdict(lambda: defaultdict(float))
    for family in meters.registry().collect():
        for sample in family.samples:
            name, labels = sample.name, sample.labels
            if name in _NAMES and labels.get("version"):
                counts = found[labels["task"], labels["version"]]
                for key in _keys(name, labels):
                    counts[key] += sample.value
    return found


_NAMES = {
    "hotline_requests_total": "requests",
    "hotline_answers_total": "answers",
    "hotline_timeouts_total": "timeouts",
    "hotline_request_seconds_sum": "response_seconds",
    "hotline_request_seconds_bucket": "bucket",
    "hotline_audio_seconds_total": "audio_seconds",
    "hotline_compute_seconds_total": "compute_seconds",
}


def _keys(name: str, labels: dict[str, str]) -> list[str]:
    key = _NAMES[name]
    if key == "bucket":
        return [f"bucket {float(labels['le'])}"]
    status = labels.get("status", "")
    more = {"429": ["sent_away"], "499": ["failed"]}.get(status, ["failed"] if status.startswith("5") else [])
    return [key, *more]


def _line(now: datetime, seconds: float, key: tuple[str, str], counts: dict[str, float], past: dict[str, float]) -> Any:
    """The version's minute; None when it did nothing."""
    done = {name: value - past.get(name, 0.0) for name, value in counts.items()}
    if not any(done.values()):
        return None
    below = [done.get(f"bucket {edge}", 0.0) for edge in (*SECONDS, float("inf"))]
    buckets = [round(here - before) for here, before in zip(below, (0.0, *below), strict=False)]
    sums = {name: round(value, 6) for name, value in done.items() if not name.startswith("bucket")}
    return Minute(
        minute=now.isoformat(timespec="seconds"), seconds=seconds, task=key[0], version=key[1], buckets=buckets, **sums
    )

"""Calls that were answered before, asked of a candidate in this process: how often it agrees, how long it takes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from hotline import dialects, families, registry, settings
from hotline.errors import HotlineError, InputError, RefusedError
from hotline.ledger import Ledger
from hotline.policy import load as load_policy
from hotline.records import ModelAddress
from hotline.rollout import Rollout
from hotline.settings import Settings
from hotline.task import Input, Task
from serving.rollout import differences
from serving.rollout.counts import WORST, at_least
from serving.rollout.distance import distance, shown
from serving.rollout.falls import write
from serving.verified import check_declaration

ALL = "all"


@dataclass(frozen=True)
class Call:
    """One input, what was answered to it (None: unknown), and its dialect (empty: unknown)."""

    question: Input
    answer: Mapping[str, Any] | None
    dialect: str


@dataclass(frozen=True)
class Replayed:
    """A call that both versions answered; `distance` is 0 for the same answer."""

    dialect: str
    distance: float
    question: dict[str, Any]
    before: Mapping[str, Any]
    candidate: Mapping[str, Any]


def replay(task: Task, address: ModelAddress, file: Path, columns: Sequence[str] = ()) -> dict[str, Any]:
    """The report; its page lies under the state folder, readable by its owner only.

    Calls without an answer of their own are asked of the champion, too. Raises InputError for a file that is no
    calls, RefusedError for calls without an answer where there is no champion, and what fetching a version raises.
    """
    here = settings.load()
    rollout = load_policy(here.workspace).rollout
    calls = list(_calls(task, file, columns))
    candidate = _Version(here, task, address)
    champion = None if all(call.answer is not None for call in calls) else _champion(here, task)
    said: list[Replayed] = []
    failed = 0
    for call in calls:
        try:
            mine = candidate.answer(call.question)
            other = call.answer if call.answer is not None or champion is None else champion.answer(call.question)
        except Exception:  # noqa: BLE001  # whatever a family raises for an input, it is no answer
            failed += 1
            continue
        assert other is not None
        apart = distance(task.family, other, {name: mine.get(name) for name in other})
        said.append(Replayed(call.dialect, apart, shown(call.question), other, mine))
    report = _report(task, address, champion, calls, said, failed, candidate.seconds, rollout)
    place = here.state / "replay" / f"{task.name}-{address.digest[:12]}.html"
    write(place, page(report))
    return {**report, "page": str(place)}


class _Version:
    """A registered version in this process; it writes down how long every answer took."""

    def __init__(self, here: Settings, task: Task, address: ModelAddress) -> None:
        folder = registry.fetch(registry.connect(here.tracking_uri), address, here.verified)
        check_declaration(folder, task)
        self.name = f"{address.line}@{address.version}"
        self._family, self._model = families.load(folder, task)
        self.seconds: list[float] = []

    def answer(self, question: Input) -> dict[str, Any]:
        begun = time.perf_counter()
        [answer] = families.answer(self._family, self._model, [question], 1)
        self.seconds.append(time.perf_counter() - begun)
        return answer.target.model_dump(mode="json")


def _champion(here: Settings, task: Task) -> _Version:
    champion = Ledger.of(here).read().champion(task.name)
    if champion is None:
        raise RefusedError(
            "these calls have no answers to compare with, and there is no champion to ask",
            expected="a field `answer` in every call",
            next=f"hotline promote a version for {task.name}",
        )
    return _Version(here, task, champion.record.model)


def _calls(task: Task, file: Path, columns: Sequence[str]) -> Iterator[Call]:
    """JSON Lines of calls, or with `columns` a table of inputs. Raises InputError naming the line that is none."""
    if columns:
        yield from _of_table(task, file, columns)
        return
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("the calls cannot be read", where=str(file), found=error, next="check the path") from error
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield _call(task, file, number, line)


def _call(task: Task, file: Path, number: int, line: str) -> Call:
    try:
        content = json.loads(line)
        values = dict(content["input"] if "input" in content else {n: content[n] for n in task.input.model_fields})
        if task.audio_field:
            values[task.audio_field] = _sound(file.parent / str(values[task.audio_field]))
        answer = content.get("answer")
        dialect = str(content.get("dialect") or (answer or {}).get("dialect") or "")
        return Call(task.input.model_validate(values), answer, dialect if dialect in dialects.tags() else "")
    except (ValueError, KeyError, TypeError, AttributeError, OSError, HotlineError) as error:
        found = "; ".join(e["msg"] for e in error.errors()) if isinstance(error, ValidationError) else error
        raise InputError(
            "this line is no call",
            where=f"{file}, line {number}",
            found=found,
            expected='{"input": {…}, "answer": {…}, "dialect": "…"}, the last two where they are known',
            next="hotline replay --help",
        ) from error


def _sound(path: Path) -> Any:
    from hotline import audio_files

    channels = audio_files.decode(path.read_bytes(), path.name)
    return channels[0]


def _of_table(task: Task, file: Path, columns: Sequence[str]) -> Iterator[Call]:
    from data.tables import read_table
    from pipelines.predict import fields_of

    fields = fields_of(task, columns)
    table = read_table(file, [column for named in fields.values() for column in named])
    for number, row in enumerate(table.to_dict("records"), start=1):
        values = {field: "\n".join(str(row[name]).strip() for name in named) for field, named in fields.items()}
        yield _call(task, file, number, json.dumps({"input": values, "dialect": row.get("dialect")}))


def _report(
    task: Task,
    address: ModelAddress,
    champion: _Version | None,
    calls: Sequence[Call],
    said: Sequence[Replayed],
    failed: int,
    seconds: Sequence[float],
    rollout: Rollout,
) -> dict[str, Any]:
    named = sorted({each.dialect for each in said if each.dialect})
    groups = {ALL: list(said)} | {name: [each for each in said if each.dialect == name] for name in named}
    worst = {name: sorted(rows, key=lambda each: -each.distance)[:WORST] for name, rows in groups.items()}
    return {
        "task": task.name,
        "version": f"{address.line}@{address.version}",
        "against": champion.name if champion else "the captured answers",
        "calls": len(calls),
        "failed": failed,
        "agreement": {name: _agreement(rows, rollout.tolerance) for name, rows in groups.items()},
        "seconds": {f"p{q:g}": round(float(np.quantile(seconds, q / 100)), 4) for q in (50, 95, 99)} if seconds else {},
        "worst": {
            name: [each.__dict__ for each in rows if each.distance > 0] for name, rows in worst.items() if name != ALL
        }
        or {ALL: [each.__dict__ for each in worst[ALL] if each.distance > 0]},
    }


def _agreement(rows: Sequence[Replayed], tolerance: float) -> dict[str, Any]:
    """Calls, those answered alike, their share, and the share that they show at least (95 % Wilson)."""
    same = sum(each.distance <= tolerance for each in rows)
    share = same / len(rows) if rows else None
    return {"calls": len(rows), "alike": same, "share": share, "at_least": at_least(same, len(rows), 1.96)}


def page(report: Mapping[str, Any]) -> str:
    """The report for people."""
    title = f"{report['version']} on {report['calls']} calls of {report['task']}, against {report['against']}"
    agreed = [
        (name, each["calls"], each["alike"], "" if each["share"] is None else f"{each['share']:.1%}")
        for name, each in report["agreement"].items()
    ]
    pairs = [
        (name, f"{pair['distance']:.2f}", *(_shown(pair[side]) for side in ("question", "before", "candidate")))
        for name, rows in report["worst"].items()
        for pair in rows
    ]
    return (
        differences.head(title)
        + differences.table(("dialect", "calls", "alike", "share"), agreed)
        + differences.table(("", "seconds"), list(report["seconds"].items()))
        + differences.table(("dialect", "distance", "input", "before", "candidate"), pairs)
    )


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)

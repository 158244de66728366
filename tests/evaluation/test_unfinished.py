"""An evaluation that is killed goes on where it was, and ends as if nothing had happened."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from data.store import open_snapshot
from evaluation import unfinished
from evaluation.answers import BATCH_ROWS, Batch, Pace, Reply
from evaluation.gate import judge
from evaluation.promote import promote
from hotline import families, registry
from hotline.audio import tone
from hotline.records import LINEAGE_FILE, Lineage, ModelAddress, Verdict
from hotline.settings import Settings
from hotline.task import Answer
from hotline.tasks.speech.transcription import TRANSCRIPTION
from hotline.tasks.tickets.ticket_category import TICKET_CATEGORY as TASK

JUDGING = """
import sys, threading
from hotline import families, settings
from hotline.records import ModelAddress
from hotline.tasks import find
from evaluation.gate import judge

whole, left = families.answer, int(sys.argv[2])
def answer(*given):
    global left
    left -= 1
    if left < 0:
        threading.Event().wait()  # the test kills us here, in the middle of a batch
    return whole(*given)
families.answer = answer
judge(settings.load(), find("ticket_category"), ModelAddress.model_validate_json(sys.argv[1]))
"""


@pytest.fixture
def fresh(workspace_copy: Settings, candidate: ModelAddress) -> Settings:
    """A copy with a champion, in which nothing else was judged yet."""
    forget(workspace_copy)
    judge(workspace_copy, TASK, candidate)
    promote(workspace_copy, TASK, candidate, "first")
    return workspace_copy


def forget(here: Settings) -> None:
    for path in (here.state / "ledger.db", here.champions_lock, here.ledger_head):
        path.unlink(missing_ok=True)
    shutil.rmtree(here.verdicts, ignore_errors=True)


def challenger(here: Settings, address: ModelAddress) -> ModelAddress:
    """The same model as another version."""
    client = registry.connect(here.tracking_uri)
    folder = here.workspace / "challenger"
    shutil.copytree(registry.fetch(client, address, here.verified), folder)
    path = folder / LINEAGE_FILE
    path.chmod(0o644)
    lineage = Lineage.model_validate_json(path.read_text()).model_copy(update={"recipe": "1" * 64})
    path.write_text(lineage.model_dump_json())
    run = client.create_run(client.get_run(address.run_id).info.experiment_id)
    return registry.register(client, "challenger", run.info.run_id, folder, {registry.TASK_TAG: TASK.name})


def parts(here: Settings) -> list[Path]:
    return sorted((here.state / "evaluations").rglob("*.parquet"))


def killed_after(batches: int, here: Settings, address: ModelAddress) -> list[Path]:
    """Judge in a process of its own, kill it when that many batches are answered; what it left."""
    environment = {**os.environ, "HOTLINE_WORKSPACE": str(here.workspace)}
    command = [sys.executable, "-c", JUDGING, address.model_dump_json(), str(batches)]
    judging = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    while len(parts(here)) < batches and judging.poll() is None:
        time.sleep(0.05)
    judging.send_signal(signal.SIGKILL)
    _, said = judging.communicate()
    assert judging.returncode == -signal.SIGKILL, said.decode()[-2000:]
    return parts(here)


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the batches that are answered from now on."""
    sizes: list[int] = []
    whole = families.answer

    def answer(family: Any, model: Any, inputs: Sequence[Any], *more: int) -> list[Answer]:
        sizes.append(len(inputs))
        return whole(family, model, inputs, *more)

    monkeypatch.setattr(families, "answer", answer)
    return sizes


def without_time(verdict: Verdict) -> Verdict:
    return verdict.model_copy(update={"time": ""})


@pytest.mark.slow
def test_a_killed_evaluation_goes_on_and_ends_as_the_uninterrupted_one(
    fresh: Settings, candidate: ModelAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = challenger(fresh, candidate)
    rows = len(open_snapshot(fresh, TASK).rows("test"))
    whole = -(-rows // BATCH_ROWS)
    left = killed_after(whole + 3, fresh, other)  # the candidate is done, the champion is at its fourth batch
    assert len(left) == whole + 3
    torn = left[-1]
    torn.write_bytes(torn.read_bytes()[:-20])

    sizes = counted(monkeypatch)
    entry, resumed = judge(fresh, TASK, other)
    assert sum(sizes) == rows - 2 * BATCH_ROWS  # of the champion's three kept batches one was torn
    answers = (fresh.verdicts / other.line / TASK.name / "answers.parquet").read_bytes()
    assert parts(fresh) == []

    sizes.clear()
    again, uninterrupted = judge(fresh, TASK, other)
    assert sum(sizes) == 2 * rows  # nothing was kept: numbers of a finished evaluation are not used again
    assert (fresh.verdicts / other.line / TASK.name / "answers.parquet").read_bytes() == answers
    assert without_time(resumed) == without_time(uninterrupted)
    assert again == entry  # the same evidence


def test_what_was_answered_by_other_code_is_not_used(
    fresh: Settings, candidate: ModelAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = counted(monkeypatch)
    monkeypatch.setattr(unfinished.digests, "of_code", lambda *given: "the code of yesterday")
    monkeypatch.setattr(Path, "rename", interrupted_at(3))
    with pytest.raises(KeyboardInterrupt):
        judge(fresh, TASK, candidate)
    monkeypatch.undo()
    assert sum(sizes) == 3 * BATCH_ROWS
    assert len(parts(fresh)) == 2
    sizes = counted(monkeypatch)
    judge(fresh, TASK, candidate)
    assert sum(sizes) == len(open_snapshot(fresh, TASK).rows("test"))
    assert parts(fresh) == []


def interrupted_at(call: int) -> Any:
    """Path.rename that is interrupted when it is called for the so-manieth time."""
    whole, left = Path.rename, [call]

    def rename(path: Path, target: Path) -> Path:
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt
        return whole(path, target)

    return rename


def test_the_pace_of_a_resumed_evaluation_counts_every_batch_once(tmp_path: Path) -> None:
    asked = [TRANSCRIPTION.input.model_validate({"audio": tone(2.0)})] * 3
    said = Answer(target=TRANSCRIPTION.target.model_validate({"text": "路灯坏了"}), confidence=0.5)
    kept = unfinished.Kept(tmp_path, TRANSCRIPTION, "speech@1", ["a", "b", "c"])
    kept.keep(Reply(0, [said, said], seconds=1.5))
    (found,) = kept.replies([Batch(0, asked[:2]), Batch(2, asked[2:])])
    assert (found.seconds, list(found.answers)) == (1.5, [said, said])
    assert Pace(found.seconds, 6.0).figures == {"rtf": 0.25}


def test_a_part_about_other_rows_is_not_used(tmp_path: Path) -> None:
    said = Answer(target=TASK.target.model_validate({"label": "城建/路灯"}), confidence=0.5)
    asked = [TASK.input.model_validate({"text": "路灯坏了"})]
    unfinished.Kept(tmp_path, TASK, "tickets@1", ["a"]).keep(Reply(0, [said], seconds=0.0))
    assert unfinished.Kept(tmp_path, TASK, "tickets@1", ["b"]).replies([Batch(0, asked)]) == []

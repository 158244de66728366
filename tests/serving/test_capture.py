"""Captured calls: sampled, sealed, gone after their time; corrected by request id; read by the key's holder alone."""

from __future__ import annotations

import csv
import datetime
import io
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import soundfile
import yaml
from fastapi.testclient import TestClient

from data import mapping as mappings
from data.drafts import Drafter
from data.tables import read_table
from hotline import policy
from hotline.audio import tone
from hotline.errors import InputError, IntegrityError, PolicyError, RefusedError
from hotline.tasks import TASKS, find
from hotline.wishes import Abilities
from pipelines import feedback
from serving.access import issue
from serving.access.register import Register
from serving.app import build
from serving.capture import calls, sealing
from serving.capture.store import FILE, Sealed, Store
from serving.recordings import Recordings
from serving.routes import Route, RouteMap
from serving.switchboard import Switchboard

if TYPE_CHECKING:
    from tests.serving.conftest import Site

OTHER = "a" * 64
TEXT = "路灯坏了三天没人修"
RIGHT = "城乡建设/市政/井盖"
TICKETS = "/v1/tasks/ticket_category"
ANSWER = {"answer": {"label": "城乡建设/市政/路灯"}, "confidence": 0.9, "alternatives": []}
HEARD = {"answer": {"text": "路灯", "dialect": "cmn", "segments": []}, "confidence": 0.9, "alternatives": []}


class Answering(Switchboard):
    """Every task is served, and every ticket is about street lamps."""

    def __init__(self, site: str) -> None:
        super().__init__("test")
        known = {"verdict": OTHER, "promotion": 1, "promoted": "2026-01-01T00:00:00+00:00", "profile": "demo"}
        rest = {"outcome": "passed", "site": site, "engine": "in process", "app": "none", "digest": OTHER}
        named = {name: {"task": name, "line": name, "version": "1"} for name in TASKS}
        routes = {name: Route.model_validate({**each, **known, **rest}) for name, each in named.items()}
        self.map = RouteMap(number=1, routes=routes)

    async def ask(self, *_: Any, **__: Any) -> Mapping[str, Any]:
        return ANSWER


async def vector(*_: Any, **__: Any) -> Mapping[str, Any]:
    return {**ANSWER, "vector": {"values": [0.6, 0.8], "tokens": 5}}


@dataclass
class Keeping:
    """An ingress that keeps calls."""

    site: Site
    http: TestClient

    @property
    def store(self) -> Store:
        return Store(self.site.settings.captures)

    def ask(self, text: str = TEXT, **headers: str) -> str:
        answer = self.http.post(TICKETS, json={"text": text}, headers=headers)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])

    def kept(self, id: str, seconds: float = 10.0) -> bool:
        """Whether the call is in the file, once the writer has come to it."""
        give_up = time.monotonic() + seconds
        while self.store.find(id) is None and time.monotonic() < give_up:
            time.sleep(0.01)
        return self.store.find(id) is not None

    def correct(self, id: str, answer: Any = None, **headers: str) -> Any:
        return self.http.post(
            "/v1/feedback", json={"id": id, "answer": {"label": RIGHT} if answer is None else answer}, headers=headers
        )


@pytest.fixture
def keeping_of() -> Callable[..., Keeping]:
    def of(site: Site, **more: Any) -> Keeping:
        public = sealing.create(site.settings.keys)
        site.policy(capture={"public_key": public, "share": 1.0, "days": 1} | more)
        here = policy.load(site.settings.workspace)
        app = build(here, Answering(here.site), site.settings.state)
        return Keeping(site, TestClient(app, raise_server_exceptions=False))

    return of


@pytest.fixture
def keeping(site: Site, keeping_of: Callable[..., Keeping]) -> Keeping:
    return keeping_of(site)


def test_nothing_is_kept_unless_the_policy_says_so(site: Site) -> None:
    app = build(policy.load(site.settings.workspace), Answering("test"), site.settings.state)
    asking = Keeping(site, TestClient(app))
    refused = asking.correct(asking.ask())
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "refused")
    assert not site.settings.captures.exists()


def test_a_kept_call_is_read_by_the_keys_holder_and_by_nobody_else(keeping: Keeping) -> None:
    id = keeping.ask(**{"X-Call-Id": "call-7"})
    assert keeping.kept(id)
    keeping.correct(id)
    here = keeping.site.settings
    assert here.captures.stat().st_mode & 0o077 == here.keys.joinpath("capture.key").stat().st_mode & 0o077 == 0
    for path in here.state.rglob("captures*"):
        content = path.read_bytes()
        assert not [text for text in (TEXT, RIGHT, "路灯", "call-7", '"text"') if text.encode() in content]
    (call,) = calls.read(here)
    assert (call.id, call.task, call.call_id, json.loads(call.body)) == (
        id,
        "ticket_category",
        "call-7",
        {"text": TEXT},
    )
    assert json.loads(call.answer)["answer"] == ANSWER["answer"]
    (here.keys / "capture.key").unlink()
    with pytest.raises(PolicyError, match="no usable capture key"):
        list(calls.read(here))
    sealing.create(here.keys)
    with pytest.raises(IntegrityError, match="cannot be opened"):
        list(calls.read(here))


def test_a_sealed_call_opens_as_nothing_but_itself(site: Site) -> None:
    public = sealing.create(site.settings.keys)
    key, sealed = sealing.load(site.settings.keys), sealing.seal(public, b"said", ("here", "call", "1"))
    assert sealing.opened(key, sealed, ("here", "call", "1")) == b"said"
    for other in (("there", "call", "1"), ("here", "correction", "1"), ("here", "call", "2")):
        with pytest.raises(IntegrityError):
            sealing.opened(key, sealed, other)
    with pytest.raises(PolicyError, match="a capture key already"):
        sealing.create(site.settings.keys)


def test_a_call_is_gone_after_its_time_from_the_file_too(tmp_path: Path) -> None:
    now = [1000.0]
    store = Store(tmp_path / FILE, clock=lambda: now[0])
    store.add([Sealed(f"call {number}", "t", now[0], 2000.0 + number, b"sealed" * 500) for number in range(100)])
    store.correct("call 0", "", b"corrected" * 100)
    size = store.path.stat().st_size
    now[0] = 1999.0
    assert store.prune() == 0 and store.find("call 0") and store.corrections("t")
    now[0] = 2000.0
    assert store.find("call 0") is None and store.corrections("t") == []  # before anybody deletes it
    assert [call.id for call in store.calls()][:2] == ["call 1", "call 10"]
    assert store.prune() == 1
    assert b"corrected" not in store.path.read_bytes()
    now[0] = 2100.0
    assert store.prune() == 99
    assert b"sealedsealed" not in store.path.read_bytes()
    assert store.path.stat().st_size < size / 4


def test_what_is_kept_takes_no_more_than_its_share_of_the_disk(tmp_path: Path) -> None:
    store = Store(tmp_path / FILE, most_bytes=1_000_000)
    for first in range(0, 400, 50):
        store.add(
            [
                Sealed(f"call {number:03}", "t", float(number), 1e12, bytes(10_000))
                for number in range(first, first + 50)
            ]
        )
    assert store.path.stat().st_size <= 1_000_000
    kept = [call.id for call in store.calls()]
    assert kept[-1] == "call 399" and 20 < len(kept) < 100
    assert [call.id for call in store.calls(since=390.0, until=392.0)] == ["call 390", "call 391"]


def test_a_share_of_the_calls_is_kept_and_each_call_whole(site: Site, keeping_of: Callable[..., Keeping]) -> None:
    keeping = keeping_of(site, share=0.25)
    ids = {f"call-{number}": [keeping.ask(**{"X-Call-Id": f"call-{number}"}) for _ in (1, 2)] for number in range(40)}
    last = keeping.ask(**{"X-Call-Id": next(name for name in ids if keeping.kept(ids[name][0], 0.0))})
    assert keeping.kept(last)  # the writer has written those before
    kept = {name: [keeping.store.find(id) is not None for id in each] for name, each in ids.items()}
    assert all(first == second for first, second in kept.values())
    assert 2 <= sum(first for first, _ in kept.values()) <= 20


def test_errors_large_calls_and_other_tasks_are_not_kept(site: Site, keeping_of: Callable[..., Keeping]) -> None:
    keeping = keeping_of(site, call_bytes=2000, tasks=["ticket_category"])
    keeping.http.post(TICKETS, json={"text": 1})
    large = keeping.ask("灯" * 1000)
    assert keeping.kept(keeping.ask())
    assert keeping.store.find(large) is None
    assert len(list(keeping.store.calls())) == 1


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ({"label": RIGHT}, 202),
        ({"label": ""}, 422),
        ({"label": RIGHT, "more": 1}, 422),
        ({}, 422),
        ({"text": "x"}, 422),
    ],
    ids=str,
)
def test_a_correction_is_an_answer_of_the_task(keeping: Keeping, answer: Any, status: int) -> None:
    id = keeping.ask()
    assert keeping.kept(id)
    said = keeping.correct(id, answer)
    assert said.status_code == status, said.text
    if status == 422:
        assert said.json()["error"]["where"].startswith("body.answer") and RIGHT not in said.text


def test_a_correction_of_a_call_that_is_not_kept_is_refused(
    keeping: Keeping, site_of: Callable[[str], Site], keeping_of: Callable[..., Keeping]
) -> None:
    id = keeping.ask()
    assert keeping.kept(id)
    task, digest, entry, stamp = id.split(".")
    unknown = f"{task}.{digest}.{entry}.{stamp[:-6]}000000"
    assert keeping.correct(unknown).status_code == 404
    assert keeping.correct("nonsense").status_code == 422
    elsewhere = site_of("production")
    elsewhere.policy(site="elsewhere")
    assert keeping_of(elsewhere).correct(id).status_code == 404
    later = Store(keeping.store.path, clock=lambda: time.time() + 24 * 3600)
    assert later.find(id) is None


def test_a_key_corrects_only_answers_of_its_tasks(keeping_of: Callable[..., Keeping], site: Site) -> None:
    site.policy(access="required")
    right, narrow, metrics = (
        issue.create(site.settings, "desk", 1, "operator", wish)[1]
        for wish in ({"roles": ("call",)}, {"roles": ("call",), "tasks": ("ticket_summary",)}, {"roles": ("metrics",)})
    )
    keeping = keeping_of(site)
    id = keeping.ask(Authorization=f"Bearer {right}")
    assert keeping.kept(id)
    for key, status in ((None, 401), (narrow, 403), (metrics, 403), (right, 202)):
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        assert keeping.correct(id, **headers).status_code == status


def test_corrections_become_rows_that_can_be_imported(keeping: Keeping, tmp_path: Path) -> None:
    here, first, second = keeping.site.settings, keeping.ask(), keeping.ask("井盖丢了，很危险", **{"X-Call-Id": "c-2"})
    assert keeping.kept(second) and keeping.kept(first)
    for answer in ("环保/噪音/施工", RIGHT):  # the later one holds
        assert keeping.correct(second, {"label": answer}).status_code == 202
    with pytest.raises(RefusedError, match="may not sign"):
        feedback.export(here, "ticket_category", tmp_path / "rows", "gate")
    report = feedback.export(here, "ticket_category", tmp_path / "rows", "operator")
    assert report["rows"] == 1
    task, mapping = find("ticket_category"), mappings.load(Path(report["mapping"]))
    mapping.check(task)
    cells = read_table(Path(report["output"]), mapping.required_columns()).to_dict("records")
    (draft,) = Drafter(task, mapping, b"key", {"site": "test"}).drafts("corrections.csv", cells)
    assert not draft.reasons
    assert (draft.input, draft.target) == ({"text": "井盖丢了，很危险"}, {"label": RIGHT})
    assert draft.provenance["label_source"] == "human"
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "rows").rglob("*"))
    with pytest.raises(InputError, match="there already"):
        feedback.export(here, "ticket_category", tmp_path / "rows", "operator")
    assert '\\"kind\\":\\"exported\\"' in (here.access / "keys.jsonl").read_text()
    assert Register.of(here).read().issued == {}


def test_calls_of_a_period_come_as_a_replay_reads_them(keeping: Keeping, tmp_path: Path) -> None:
    from pipelines import replay

    here, day = keeping.site.settings, datetime.timedelta(days=1)
    for text in ("路灯坏了三天", "井盖丢了"):
        assert keeping.kept(keeping.ask(text))
    now = datetime.datetime.now(datetime.UTC)
    with pytest.raises(RefusedError, match="may not sign"):
        feedback.calls(here, "ticket_category", now - day, now + day, tmp_path / "calls", "gate")
    assert not (tmp_path / "calls").exists()
    report = feedback.calls(here, "ticket_category", now - day, now + day, tmp_path / "calls", "operator")
    assert report["calls"] == 2
    found = list(replay._calls(find("ticket_category"), Path(report["output"]), ()))
    assert [call.question.model_dump() for call in found] == [{"text": "路灯坏了三天"}, {"text": "井盖丢了"}]
    assert [call.answer for call in found] == [ANSWER["answer"]] * 2
    assert (
        feedback.calls(here, "ticket_category", now - 2 * day, now - day, tmp_path / "none", "operator")["calls"] == 0
    )


def test_one_embedded_text_is_a_row_that_can_be_corrected_and_several_are_none(
    keeping: Keeping, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def abilities(*_: Any) -> Abilities:
        return Abilities(dimensions=2)

    monkeypatch.setattr(Answering, "abilities", abilities)
    monkeypatch.setattr(Answering, "ask", vector)
    one, several = (
        keeping.http.post("/v1/embeddings", json={"model": "faq_match", "input": given}).json()["id"]
        for given in ("身份证丢了", ["路灯", "井盖"])
    )
    for id in (one, several):
        assert keeping.kept(id)
        assert keeping.correct(id, {"label": "证件/身份证"}).status_code == 202
    report = feedback.export(keeping.site.settings, "faq_match", tmp_path / "rows", "operator")
    with Path(report["output"]).open(encoding="utf-8") as stream:
        (row,) = csv.DictReader(stream)
    assert (row["input.question"], row["target.label 1"], row["target.label 2"]) == ("身份证丢了", "证件", "身份证")


def test_a_corrected_recording_comes_with_its_sound(
    keeping: Keeping, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def heard(*_: Any, **__: Any) -> tuple[Any, None]:
        return HEARD, None

    monkeypatch.setattr(Recordings, "answer", heard)  # what a version hears is another test's matter
    sound, clip = tone(0.3), io.BytesIO()
    soundfile.write(clip, sound.samples, sound.sample_rate_hz, format="WAV", subtype="PCM_16")
    answer = keeping.http.post("/v1/tasks/transcription", files={"file": ("call.wav", clip.getvalue())})
    assert answer.status_code == 200, answer.text
    assert keeping.kept(answer.json()["id"])
    assert keeping.correct(answer.json()["id"], {"text": "路灯坏了", "dialect": "yue-hongkong"}).status_code == 202
    report = feedback.export(keeping.site.settings, "transcription", tmp_path / "rows", "operator")
    (row,) = csv.DictReader((Path(report["output"]) / "corrections.csv").open(encoding="utf-8"))
    assert (Path(report["output"]) / row["file"]).read_bytes() == clip.getvalue()
    assert (row["target.text"], row["target.dialect"]) == ("路灯坏了", "yue-hongkong")
    mappings.load(Path(report["mapping"])).check(find("transcription"))
    said = yaml.safe_load(Path(report["mapping"]).read_text())
    assert said["columns"]["provenance.dialect"] == ["target.dialect"]

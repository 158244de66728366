"""A server in the place of our engine: started from verified bytes, restarted when it dies, stopped with us."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from pydantic import ValidationError

from hotline import families, policy
from hotline.errors import InputError, UnavailableError
from hotline.families import generation
from hotline.policy import Upstream
from hotline.tasks import find
from serving.answers import plain
from serving.chat_request import ChatRequest
from serving.engines import threads
from serving.engines.launched import Server
from serving.engines.plans import Penalties, Plan
from serving.engines.upstream import UpstreamEngine
from serving.replica import Options
from serving.writing import WriterReplica

if TYPE_CHECKING:
    from tests.serving.conftest import Site

TITLES = find("ticket_summary")
TEXT = "您好，东街的路灯三天没人管。"
PROGRAM = str(Path(sys.executable).parent / "transformers")
COMMAND = (PROGRAM, "serve", "{folder}", "--host", "127.0.0.1", "--port", "{port}", "--device", "cpu", "--dtype")


@pytest.mark.parametrize("lacking", ["{folder}", "{port}"])
def test_a_command_without_its_places_is_no_policy(lacking: str) -> None:
    command = [part for part in ("serve", "{folder}", "{port}") if part != lacking]
    with pytest.raises(ValidationError, match="the command has no"):
        Upstream.model_validate({"command": command, "tasks": ["ticket_summary"]})


def test_a_policy_without_an_upstream_has_the_digest_that_it_had(site: Site) -> None:
    before = policy.load(site.settings.workspace)
    assert "upstream" not in before.model_dump(exclude={"upstream"}) and before.upstream_of(TITLES.name) is None
    site.policy(upstream={"command": ["serve", "{folder}", "{port}"], "tasks": [TITLES.name]})
    after = policy.load(site.settings.workspace)
    assert after.digest != before.digest and after.upstream_of(TITLES.name) and not after.upstream_of("transcription")


def test_a_server_that_does_not_start_says_its_last_words(tmp_path: Path) -> None:
    script = "import sys; sys.exit('no such device')"
    declared = Upstream(command=(sys.executable, "-c", script, "{folder}", "{port}"), tasks=("ticket_summary",))
    with pytest.raises(UnavailableError) as refused:
        Server(declared, tmp_path, lambda: None)
    assert refused.value.found == "no such device"
    with pytest.raises(UnavailableError, match="cannot be started"):
        Server(declared.model_copy(update={"command": ("/nowhere/serve",)}), tmp_path, lambda: None)


@pytest.mark.parametrize(
    ("field", "changed"),
    [
        ("logit_bias", {"bias": {3: 1.0}}),
        ("logprobs", {"top": 2}),
        ("penalty", {"penalties": Penalties(presence=1.0)}),
        ("stop", {"stops": ("。",)}),
        ("response_format", {"grammar": object()}),
        ("temperature", {"sampling": object()}),
    ],
)
def test_what_the_server_would_ignore_is_refused(field: str, changed: dict[str, Any]) -> None:
    class Loaded:
        chat = None

    engine: Any = UpstreamEngine(Loaded(), None, "model")  # type: ignore[arg-type]
    plan = Plan([1, 2], generation.Limits(8, [0], 0, [], []), **changed)

    async def write() -> None:
        async for _ in engine.write([plan]):
            pass

    with pytest.raises(InputError) as refused:
        asyncio.run(write())
    assert field in str(refused.value.found)


@pytest.fixture
def replica(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A replica whose writer's words come from a real `transformers serve`."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    site.policy(upstream={"command": [*COMMAND, "float32"], "tasks": [TITLES.name]})
    model = site.writer(1)
    entry = site.promote(model, site.judge(model, task=TITLES).hash, TITLES)
    made: Any = WriterReplica.__new__(WriterReplica)
    made._thread = threads.one(1)
    made._verify(site.settings, TITLES, entry.seq, Options())
    made._load()
    yield made
    made.__del__()


@pytest.mark.slow  # it starts transformers serve, and once more after it was killed
def test_what_transformers_serve_writes_is_what_was_judged_and_it_lives_as_long_as_we_do(replica: Any) -> None:
    given = TITLES.input.model_validate({"text": TEXT})
    [judged] = families.answer(families.find("writer"), replica._model, [given])
    said = asyncio.run(replica.answer(given))
    assert said["answer"] == plain(judged)["answer"]
    assert said["confidence"] == pytest.approx(judged.confidence, abs=1e-4)

    messages = TITLES.prompt.messages(given) if TITLES.prompt else []
    assert _chat(replica, {"messages": messages, "stream": True}) == judged.target.model_dump()["text"]
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
    assert isinstance(_chat(replica, {"messages": messages, "response_format": schema}), InputError)

    server = replica._engine._server
    first = server.pid
    os.killpg(first, signal.SIGKILL)
    give_up = time.monotonic() + 300
    while time.monotonic() < give_up:
        try:
            again = asyncio.run(replica.answer(given))
            break
        except UnavailableError:
            time.sleep(1)
    assert again["answer"] == said["answer"] and server.pid != first
    last = server.pid
    replica._engine.stop()
    assert not psutil.pid_exists(last) or psutil.Process(last).status() == psutil.STATUS_ZOMBIE


def _chat(replica: Any, body: dict[str, Any]) -> Any:
    """The text of a chat's answer, or the error that ended it."""

    async def chat() -> Any:
        text = ""
        async for news in replica.chat(ChatRequest.model_validate({"model": "titles", **body})):
            if isinstance(news, Exception):
                return news
            text += "".join(each.text for each in news) if isinstance(news, list) else ""
        return text

    return asyncio.run(chat())

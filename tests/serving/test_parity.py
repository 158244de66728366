"""What is served is what was judged: rows like the demo's by the gate's own path, and over HTTP by many at once."""

from __future__ import annotations

import asyncio
import io
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import openai
import pytest
import soundfile

from data import synthetic
from data.call_wordings import dialects
from data.calls import plan
from data.voices import speech
from evaluation.answers import Batch, loaded
from hotline import audio_files, digests
from hotline.audio import TELEPHONE_HZ, Audio
from hotline.families import classifier
from hotline.families.classifier_options import ClassifierOptions
from hotline.families.packing import PackedLinear
from hotline.labels import LabelTree
from hotline.task import Answer, Task
from hotline.tasks import find
from serving.engines import threads
from serving.replica import Options, Replica

if TYPE_CHECKING:
    from tests.serving.conftest import Site

TICKETS, TITLES = find("ticket_category"), find("ticket_summary")
SPEECH = (find("transcription"), find("dialect_identification"))
LABELS = ("城乡建设/路灯", "城乡建设/井盖", "交通/公交", "环保/噪音")
TOLERANCE = 1e-5
"""Of a confidence: sums of 32-bit numbers depend on what stands beside a row in its batch."""
CALLERS = (1, 5, 16)
Post = Callable[[httpx.Client, int], dict[str, Any]]


def judged(site: Site, task: Task, inputs: Sequence[Any]) -> list[Answer]:
    """The champion's answers as the gate has them computed."""
    champion = site.ledger.read().champion(task.name)
    assert champion
    return list(loaded(site.settings, task, champion.record.model)(Batch(0, inputs)).answers)


def served(endpoint: str, post: Post, count: int, callers: int) -> list[dict[str, Any]]:
    """The replies to rows 0 to `count`, asked for in an order of their own by that many callers at once."""
    order = random.Random(callers).sample(range(count), count)
    with httpx.Client(base_url=endpoint, timeout=300, trust_env=False) as http, ThreadPoolExecutor(callers) as pool:
        replies = dict(zip(order, pool.map(lambda number: post(http, number), order), strict=True))
    return [replies[number] for number in range(count)]


def reply(response: httpx.Response) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def check(replies: Sequence[dict[str, Any]], answers: Sequence[Answer]) -> None:
    """Everything is equal, and confidences nearly."""
    for each, answer in zip(replies, answers, strict=True):
        others = [{"answer": target.model_dump(mode="json"), "confidence": p} for target, p in answer.alternatives]
        said = {name: each[name] for name in ("answer", "confidence", "alternatives")}
        expected = {
            "answer": answer.target.model_dump(mode="json"),
            "confidence": answer.confidence,
            "alternatives": others,
        }
        assert surely(said) == surely(expected)
        assert confidences(said) == pytest.approx(confidences(expected), abs=TOLERANCE)


def surely(value: Any) -> Any:
    """The value without confidences."""
    if isinstance(value, dict):
        return {name: surely(each) for name, each in value.items() if name != "confidence"}
    return [surely(each) for each in value] if isinstance(value, list) else value


def confidences(value: Any) -> list[float]:
    """All of them, in order."""
    if isinstance(value, list):
        return [share for each in value for share in confidences(each)]
    if not isinstance(value, dict):
        return []
    return [share for name, each in value.items() for share in ([each] if name == "confidence" else confidences(each))]


@pytest.fixture(scope="module")
def messages() -> list[str]:
    """Texts of generated tickets, of very different lengths."""
    texts = [ticket["诉求内容"] for ticket in synthetic.generate(60, 5) if ticket["诉求内容"].strip()]
    return [*texts[:40], *(text[: 3 + number] for number, text in enumerate(texts[40:]))]


@pytest.fixture(scope="module")
def calls() -> list[bytes]:
    """Calls of the demo's test split in every dialect, as telephones carry them."""
    planned = [clip for clip in plan(0.3, 5) if clip.split == "test"]
    library, found = speech(), []
    for clip in [clip for tag in dialects() for clip in [each for each in planned if each.dialect == tag][:5]]:
        said = Audio(library.say(clip.spoken, clip.voice), library.sample_rate_hz).at(TELEPHONE_HZ)
        content = io.BytesIO()
        soundfile.write(content, said.samples, TELEPHONE_HZ, format="WAV", subtype="ULAW")
        found.append(content.getvalue())
    return found


@pytest.mark.parametrize("callers", CALLERS)
def test_tickets_are_classified_as_they_were_judged(
    live_site: Site, endpoint: str, messages: list[str], callers: int
) -> None:
    answers = judged(live_site, TICKETS, [TICKETS.input.model_validate({"text": text}) for text in messages])

    def post(http: httpx.Client, number: int) -> dict[str, Any]:
        return reply(http.post("/v1/tasks/ticket_category", json={"text": messages[number]}))

    check(served(endpoint, post, len(messages), callers), answers)


def test_a_batch_is_classified_as_it_was_judged(live_site: Site, http: httpx.Client, messages: list[str]) -> None:
    answers = judged(live_site, TICKETS, [TICKETS.input.model_validate({"text": text}) for text in messages])
    said = reply(http.post("/v1/tasks/ticket_category/batch", json=[{"text": text} for text in messages]))
    check(said["answers"], answers)


@pytest.mark.parametrize("callers", CALLERS)
@pytest.mark.parametrize("task", SPEECH, ids=lambda task: task.name)
def test_calls_are_heard_as_they_were_judged(
    live_site: Site, endpoint: str, calls: list[bytes], task: Task, callers: int
) -> None:
    heard = [task.input.model_validate({"audio": audio_files.decode(call)[0]}) for call in calls]

    def post(http: httpx.Client, number: int) -> dict[str, Any]:
        return reply(http.post(f"/v1/tasks/{task.name}", files={"file": calls[number]}))

    check(served(endpoint, post, len(calls), callers), judged(live_site, task, heard))


def test_openais_transcriptions_are_those_that_were_judged(live_site: Site, endpoint: str, calls: list[bytes]) -> None:
    task = SPEECH[0]
    heard = [task.input.model_validate({"audio": audio_files.decode(call)[0]}) for call in calls]
    answers = judged(live_site, task, heard)

    def post(http: httpx.Client, number: int) -> dict[str, Any]:
        client = openai.OpenAI(base_url=f"{endpoint}/v1", api_key="none", http_client=http, max_retries=0)
        said = client.audio.transcriptions.create(
            file=("call.wav", calls[number]), model="speech", response_format="verbose_json"
        )
        return said.model_dump()

    replies = served(endpoint, post, len(calls), 8)
    assert [each["text"] for each in replies] == [answer.target.model_dump()["text"] for answer in answers]
    assert [each["dialect"] for each in replies] == [answer.target.model_dump()["dialect"] for answer in answers]


@pytest.mark.parametrize("callers", CALLERS)
def test_titles_are_written_as_they_were_judged(
    live_site: Site, endpoint: str, messages: list[str], callers: int
) -> None:
    answers = judged(live_site, TITLES, [TITLES.input.model_validate({"text": text}) for text in messages])

    def post(http: httpx.Client, number: int) -> dict[str, Any]:
        return reply(http.post("/v1/tasks/ticket_summary", json={"text": messages[number]}))

    check(served(endpoint, post, len(messages), callers), answers)


def test_chats_with_the_tasks_prompt_are_answered_as_it_was_judged(
    live_site: Site, endpoint: str, messages: list[str]
) -> None:
    inputs = [TITLES.input.model_validate({"text": text}) for text in messages]
    answers, prompt = judged(live_site, TITLES, inputs), TITLES.prompt
    assert prompt

    def post(http: httpx.Client, number: int) -> dict[str, Any]:
        client = openai.OpenAI(base_url=f"{endpoint}/v1", api_key="none", http_client=http, max_retries=0)
        asked: Any = prompt.messages(inputs[number])
        raw = client.chat.completions.with_raw_response.create(model="titles", messages=asked)
        assert raw.headers["x-judged-as"] == TITLES.name
        return {"text": raw.parse().choices[0].message.content}

    replies = served(endpoint, post, len(messages), 12)
    assert [TITLES.target.model_validate({"text": each["text"].strip()}) for each in replies] == [
        answer.target for answer in answers
    ]


def test_a_pretrained_encoder_answers_many_at_once_as_it_was_judged(site: Site, bert_of: Callable[..., Path]) -> None:
    """Its layers are large enough to be packed; the replica is the one that Ray Serve starts."""
    texts = [f"{label}坏了，{'请尽快派人来修。' * n}" for n in range(6) for label in LABELS]
    given = [TICKETS.input.model_validate({"text": text}) for text in texts]
    options = {"encoder": "pretrained", "base": str(bert_of("".join(texts), 256)), "max_tokens": 64}
    truth = [TICKETS.target.model_validate({"label": label}) for _ in range(6) for label in LABELS]
    folder = site.settings.state / "made-encoder"
    folder.mkdir(parents=True)
    tree = LabelTree.of(LABELS)
    classifier.save(classifier.create(ClassifierOptions.model_validate(options), TICKETS, tree, given, truth), folder)
    model = site._kept(folder, "tickets", 1, {TICKETS.name: digests.of_value(TICKETS.declaration())})
    entry = site.promote(model, site.judge(model).hash)
    made: Any = Replica.__new__(Replica)
    made._thread = threads.one(1)
    made._verify(site.settings, TICKETS, entry.seq, Options(batch_rows=5))
    made._load()

    async def all_at_once() -> list[dict[str, Any]]:
        return list(await asyncio.gather(*map(made.answer, given)))

    assert any(isinstance(layer, PackedLinear) for layer in made._model.modules())
    check(asyncio.run(all_at_once()), judged(site, TICKETS, given))

"""How an input is put to an endpoint, and what it says is read: hotline's own protocol, and OpenAI's."""

from __future__ import annotations

import io
import ipaddress
import random
import re
import time
import wave
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from hotline.audio import Audio
from hotline.errors import InputError, PolicyError, UnavailableError
from hotline.labels import AROUND, LabelTree
from hotline.task import Answer, Input, Target, Task

if TYPE_CHECKING:
    import httpx

    from evaluation.endpoints import Endpoint

TRIES = 5
FIRST_WAIT_SECONDS, MAX_WAIT_SECONDS = 0.5, 20.0
BUSY = {408, 429, 500, 502, 503, 504}
FORBIDDEN, NOT_THERE = {401, 403}, {404, 405}
"""What every row would meet alike."""
SHOWN_CHARACTERS = 200
_THOUGHT = re.compile(r"^\s*<think>.*?</think>", re.DOTALL)
CLASSIFYING = """你是政务热线的分类员。下面列出全部类别，一行一个。只输出与来件最相符的一个类别，原样照抄，不加说明。

{labels}"""


@dataclass(frozen=True)
class Reply:
    """One row's answer, or the reason that there is none; `seconds` of the exchange that was answered."""

    answer: Answer | None = None
    failure: str = ""
    seconds: float = 0.0
    retries: int = 0
    input_tokens: int | None = None
    output_tokens: int | None = None
    outside: bool = False
    version: str = ""


Asker = Callable[[Input], Reply]
Read = Callable[[Mapping[str, Any]], Reply]
"""A body of JSON → what it answers. Raises KeyError, IndexError, TypeError, ValueError for one that says nothing."""


def client(endpoint: Endpoint, key: str | None) -> httpx.Client:
    """A client with the endpoint's limits and key; no proxy stands between two programs of one machine."""
    import httpx

    return httpx.Client(
        base_url=endpoint.url.rstrip("/"),
        timeout=endpoint.timeout_seconds,
        headers={"Authorization": f"Bearer {key}"} if key else {},
        limits=httpx.Limits(max_connections=endpoint.concurrency),
        trust_env=not _is_here(httpx.URL(endpoint.url).host),
    )


def asker(http: httpx.Client, endpoint: Endpoint, task: Task, tree: LabelTree | None) -> Asker:
    """What puts one input to the endpoint. Raises InputError for a task that its protocol has no words for."""
    if endpoint.kind == "hotline":
        return lambda given: _ask(http, f"/v1/tasks/{task.name}", _own_body(task, given), lambda body: _own(task, body))
    if task.audio_field and "text" in task.target.model_fields:
        fields = {"model": str(endpoint.model), "response_format": "json"}
        return lambda given: _ask(
            http,
            "/audio/transcriptions",
            {"files": {"file": ("call.wav", wav(getattr(given, str(task.audio_field))))}, "data": fields},
            lambda body: Reply(Answer(target=_target(task, "text", str(body["text"])), confidence=1.0)),
        )
    prompt = task.prompt
    if prompt and task.family == "writer":
        return lambda given: _chat(http, endpoint, prompt.messages(given), lambda said: _written(task, said))
    if task.label_field and not task.audio_field and tree:
        rules = {"role": "system", "content": CLASSIFYING.format(labels="\n".join(tree.leaves))}
        return lambda given: _chat(
            http, endpoint, [rules, {"role": "user", "content": _texts(given)}], lambda said: _label(task, tree, said)
        )
    raise InputError(
        f"an OpenAI-compatible endpoint has no words for {task.name}",
        found=f"a {task.family} that answers {', '.join(task.target.model_fields)}",
        expected="a writer, a classifier of texts, or a transcriber",
        next="serve it with hotline, and declare the endpoint as kind: hotline",
    )


def _chat(http: httpx.Client, endpoint: Endpoint, messages: Any, read: Callable[[str], Reply]) -> Reply:
    sent = {"model": endpoint.model, "messages": messages, "temperature": 0, "max_tokens": endpoint.max_tokens}

    def whole(body: Mapping[str, Any]) -> Reply:
        reply = read(_THOUGHT.sub("", str(body["choices"][0]["message"]["content"])).strip())
        usage = body.get("usage") or {}
        return replace(
            reply,
            input_tokens=usage.get("prompt_tokens"),
            output_tokens=usage.get("completion_tokens"),
            version=str(body.get("model") or ""),
        )

    return _ask(http, "/chat/completions", {"json": sent | endpoint.body}, whole)


def _ask(http: httpx.Client, path: str, sent: Mapping[str, Any], read: Read) -> Reply:
    """Post until it is answered or the tries are used up."""
    import httpx

    failure = ""
    for attempt in range(TRIES):
        began = time.perf_counter()
        try:
            response = http.post(path, **sent)
        except httpx.TransportError as error:
            failure = f"no answer: {error or type(error).__name__}"
            time.sleep(_pause(attempt, None))
            continue
        if response.is_success:
            return replace(_read(response, read), seconds=time.perf_counter() - began, retries=attempt)
        failure = f"HTTP {response.status_code}: {_reason(response)}"
        _refuse_all(response, failure)
        if response.status_code not in BUSY:
            break
        time.sleep(_pause(attempt, response.headers.get("retry-after")))
    return Reply(failure=failure, retries=attempt)


def _pause(attempt: int, told: str | None) -> float:
    """Seconds until the next try: what the endpoint asked for, else growing ones; none after the last."""
    if attempt + 1 == TRIES:
        return 0.0
    asked = float(told) if told and told.strip().isdigit() else FIRST_WAIT_SECONDS * 3**attempt * random.uniform(0.5, 1)
    return min(asked, MAX_WAIT_SECONDS)


def _read(response: httpx.Response, read: Read) -> Reply:
    try:
        return read(response.json())
    except (KeyError, IndexError, TypeError, ValueError) as error:  # pydantic's ValidationError is a ValueError
        said = (
            f"not what the task declares ({error.error_count()} problems)" if isinstance(error, ValidationError) else ""
        )
        return Reply(failure=f"the answer is {said or 'not of this protocol'}")


def _refuse_all(response: httpx.Response, failure: str) -> None:
    """Raises what every row would meet alike: no right to ask, or nobody there for this."""
    status, where = response.status_code, str(response.url)
    if status in FORBIDDEN:
        raise PolicyError(
            "the endpoint refuses us", where=where, found=failure, next="look at key_env of its declaration"
        )
    if status in NOT_THERE:
        raise UnavailableError("the endpoint does not answer this", where=where, found=failure, next="look at its url")


def _reason(response: httpx.Response) -> str:
    """The message of an error's body, else its beginning, without what was asked."""
    try:
        said = response.json()["error"]
        text = said["message"] if isinstance(said, Mapping) else said
    except (ValueError, KeyError, TypeError):
        text = response.text
    return " ".join(str(text).split())[:SHOWN_CHARACTERS]


def _own_body(task: Task, given: Input) -> dict[str, Any]:
    if task.audio_field is None:
        return {"json": given.model_dump(mode="json")}
    others = given.model_dump(mode="json", exclude={task.audio_field})
    return {"files": {"file": ("call.wav", wav(getattr(given, task.audio_field)))}, "data": others}


def _own(task: Task, body: Mapping[str, Any]) -> Reply:
    """A body of hotline's own task routes."""
    answer = Answer(
        target=task.target.model_validate(body["answer"]),
        confidence=body["confidence"],
        alternatives=tuple(
            (task.target.model_validate(each["answer"]), each["confidence"]) for each in body["alternatives"]
        ),
        answered_by=body.get("answered_by"),
    )
    origin = body.get("provenance") or {}
    return Reply(answer, version=f"{origin['model']}@{origin['version']}" if origin else "")


def _written(task: Task, said: str) -> Reply:
    refused = task.prompt is not None and bool(task.prompt.refusal) and said == task.prompt.refusal
    field = next(name for name in task.target.model_fields if name not in task.provenance_fields)
    return Reply(Answer(target=_target(task, field, "" if refused else said), confidence=1.0))


def _label(task: Task, tree: LabelTree, said: str) -> Reply:
    """The label as it was said; one that is not in the tree is an answer, too, and a wrong one."""
    label, field = said.strip(AROUND), str(task.label_field)
    return Reply(Answer(target=_target(task, field, label), confidence=1.0), outside=label not in tree.index)


def _target(task: Task, field: str, text: str) -> Target:
    """The target with that text, cut to what the field may hold, as a version's own answer is."""
    rules = task.target.model_fields[field].metadata
    longest = next((rule.max_length for rule in rules if hasattr(rule, "max_length")), None)
    return task.target.model_validate({field: text[:longest]})


def _texts(given: Input) -> str:
    return "\n".join(value for value in given.model_dump().values() if isinstance(value, str))


def wav(audio: Audio) -> bytes:
    """The sound as a WAV file, 16-bit PCM."""
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(audio.sample_rate_hz)
        file.writeframes(audio.samples.astype("<i2").tobytes())
    return content.getvalue()


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

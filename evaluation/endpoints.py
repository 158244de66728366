"""HTTP endpoints as candidates: somebody else's model on our test rows. They are compared, never judged or promoted.

An endpoint is declared in `evaluation/endpoints/NAME.yaml` of the workspace and named `endpoint:NAME`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from evaluation import asking
from evaluation.asking import Reply
from evaluation.cost import Price, Usage, usage
from hotline.errors import InputError, RefusedError, UnknownName
from hotline.labels import LabelTree
from hotline.settings import Settings, secret
from hotline.task import Answer, Input, Name, Task

PREFIX = "endpoint:"
NAMED_FAILURES = 5


class Endpoint(BaseModel):
    """Where an endpoint is, which protocol it speaks, and what it costs."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)  # it might be a key

    name: Name
    url: Annotated[str, Field(pattern="^https?://[^/]+", description="With /v1 for `openai`, without for `hotline`")]
    kind: Literal["hotline", "openai"] = "hotline"
    """Another hotline's served task, or chat completions and transcriptions as OpenAI's API has them."""
    model: str | None = None
    key_env: Annotated[str, Field(pattern="^[A-Z][A-Z0-9_]*$")] | None = None
    """The environment variable that holds the key; keys are never written into files."""
    price: Price | None = None
    concurrency: Annotated[int, Field(ge=1, le=256)] = 4
    timeout_seconds: Annotated[float, Field(gt=0)] = 60.0
    max_tokens: Annotated[int, Field(ge=1)] = 1024
    body: dict[str, Any] = {}
    """Further fields of a chat completion's body, such as `enable_thinking: false`."""

    @model_validator(mode="after")
    def _model_is_named(self) -> Endpoint:
        if (self.kind == "openai") != (self.model is not None):
            raise ValueError("an openai endpoint names its model, a hotline endpoint none")
        return self

    @property
    def title(self) -> str:
        return f"{PREFIX}{self.name}"

    @property
    def caveat(self) -> str | None:
        """What its figures cannot say."""
        return "says no confidence, so figures of calibration mean nothing" if self.kind == "openai" else None


def load(settings: Settings, name: str) -> Endpoint:
    """The endpoint of that name, with or without `endpoint:`. Raises UnknownName, InputError."""
    short = name.removeprefix(PREFIX)
    path: Path = settings.endpoints / f"{short}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(each.stem for each in settings.endpoints.glob("*.yaml"))) or "none yet"
        raise UnknownName(f"no endpoint named {short!r}", where=str(path), expected=f"one of: {known}")
    try:
        return Endpoint.model_validate({"name": short, **(yaml.safe_load(path.read_text(encoding="utf-8")) or {})})
    except (yaml.YAMLError, ValidationError, TypeError) as error:
        raise InputError(
            "the endpoint is not declared well", where=str(path), found=error, next=f"edit {path}"
        ) from error


def at(url: str) -> Endpoint:
    """Another hotline deployment, by its address alone. Raises InputError."""
    try:
        return Endpoint(name=url.split("://", 1)[-1].rstrip("/")[:200], url=url)
    except ValidationError as error:
        raise InputError("that is no address of an endpoint", found=url, expected="http://HOST:PORT") from error


def refuse(name: str) -> None:
    """Raises RefusedError when the name is that of an endpoint: what cannot show its bytes cannot earn a verdict."""
    if name.startswith(PREFIX):
        raise RefusedError(
            f"{name} is an endpoint: it can be compared, never judged or promoted",
            expected="a registered version, whose bytes a verdict names",
            next=f"hotline compare LINE {name}",
        )


def answer_rows(
    endpoint: Endpoint,
    task: Task,
    inputs: Sequence[Input],
    ids: Sequence[str],
    tree: LabelTree | None = None,
    *,
    progress: bool = True,
) -> tuple[list[Answer], Usage]:
    """What the endpoint answers, in the order of `inputs`, and what that took; `tree` has a labelled task's labels.

    Busy and unreachable endpoints are asked again. Raises RefusedError when a row has no answer after that, naming how
    many and why, UnavailableError or PolicyError at once for what every row would meet, and InputError for a task that
    this kind of endpoint cannot answer.
    """
    began = perf_counter()
    replies: list[Reply] = []
    with asking.client(endpoint, secret(endpoint.key_env) if endpoint.key_env else None) as http:
        ask = asking.asker(http, endpoint, task, tree)
        for reply in _all(ask, inputs, endpoint, progress):
            replies.append(reply)
    failed = {id: reply.failure for id, reply in zip(ids, replies, strict=True) if reply.failure}
    if failed:
        raise _unanswered(endpoint, failed, len(inputs))
    audio = sum(getattr(given, task.audio_field).seconds for given in inputs) if task.audio_field else 0.0
    said = [reply.answer for reply in replies if reply.answer is not None]
    return said, usage(endpoint.price, replies, perf_counter() - began, audio)


def _all(ask: asking.Asker, inputs: Sequence[Input], endpoint: Endpoint, progress: bool) -> Iterator[Reply]:
    """The replies in order, so many at a time; the first row alone, so that what is wrong for all costs one call."""
    from evaluation.answers import bar

    with bar(endpoint.title, len(inputs), progress) as advance, ThreadPoolExecutor(endpoint.concurrency) as pool:
        try:
            for some in (inputs[:1], inputs[1:]):
                for reply in pool.map(ask, some):
                    advance(1)
                    yield reply
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _unanswered(endpoint: Endpoint, failed: dict[str, str], rows: int) -> RefusedError:
    reasons: dict[str, list[str]] = {}
    for id, reason in failed.items():
        reasons.setdefault(reason, []).append(id)
    common = sorted(reasons.items(), key=lambda each: -len(each[1]))
    said = [f"{len(those)} × {reason} (first: {those[0]})" for reason, those in common[:NAMED_FAILURES]]
    more = [f"{len(common) - NAMED_FAILURES} other reasons"] if len(common) > NAMED_FAILURES else []
    return RefusedError(
        f"{endpoint.title} did not answer every test row: what it did not answer cannot be left out of a comparison",
        where=endpoint.url,
        found=f"{len(failed)} of {rows} rows without an answer: " + "; ".join(said + more),
        expected=f"{rows} answers",
        next="mend the endpoint or its declaration, then compare again",
    )

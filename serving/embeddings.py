"""`POST /v1/embeddings`, as OpenAI's clients call it: the vectors that an embedder compares texts by.

No `from __future__ import annotations` here: FastAPI reads the types of these routes.
"""

import base64
import struct
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from hotline.policy import Limits
from hotline.tasks import TASKS
from hotline.wishes import Wish
from serving import batches, inputs
from serving.bodies import Body, Provenance
from serving.calls import ERRORS, CallId, answering_model
from serving.strict import StrictRoute
from serving.switchboard import Switchboard

PATH = "/v1/embeddings"
Format = Literal["float", "base64"]
WISH = Wish(vector=True)


def _texts(given: Any) -> tuple[str, ...]:
    """The texts; the first thing that is none is told, and no list of a million complaints is made."""
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts:
        raise PydanticCustomError("texts", "a text, or a list of at least one")
    for place, text in enumerate(texts):
        if isinstance(text, int | list):
            raise PydanticCustomError("tokens", "texts: numbers of tokens mean something to another tokenizer only")
        if not isinstance(text, str):
            raise PydanticCustomError("texts", "texts: number {place} is none", {"place": place})
    return tuple(texts)


_TEXTS = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}


class EmbeddingRequest(BaseModel):
    """Texts, and how their vectors are to be written. Unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    model: Annotated[str, Field(max_length=300, description="A served embedder: its line, `line@version`, or its task")]
    input: Annotated[tuple[str, ...], PlainValidator(_texts), WithJsonSchema(_TEXTS)]
    encoding_format: Annotated[Format | None, Field(description="base64: 32-bit floats, little-endian")] = None
    dimensions: Annotated[int | None, Field(ge=1, description="The version's own number, or it is refused")] = None


class Embedding(Body):
    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str = Field(description="Of length 1")


class EmbeddingUsage(Body):
    prompt_tokens: int = Field(description="What the encoder read: its tokenizer's pieces, or characters without one")
    total_tokens: int


class EmbeddingList(Body):
    """One vector for each text, in their order, all by one version."""

    id: str = Field(description="Request id: names the task, the version's digest and the ledger entry by itself")
    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str = Field(description="line@version")
    usage: EmbeddingUsage
    provenance: Provenance


def add(app: FastAPI, switchboard: Switchboard, limits: Limits) -> None:
    """Add the route."""

    async def call(request: Request, asked: EmbeddingRequest, x_call_id: CallId = None) -> Response:
        batches.refuse_too_many(asked.input, limits, "body.input")
        with answering_model(request, switchboard, asked.model, "embedder") as ours:
            _refuse_other_dimensions(asked, (await switchboard.abilities(ours.route)).dimensions)
            questions = inputs.of_texts(TASKS[ours.route.task], asked.input)
            vectors = [said["vector"] for said in await batches.asked(switchboard, ours.route, questions, WISH)]
        tokens = sum(vector["tokens"] for vector in vectors)
        body = EmbeddingList(
            id=ours.id,
            data=[_embedding(number, vector["values"], asked) for number, vector in enumerate(vectors)],
            model=f"{ours.route.line}@{ours.route.version}",
            usage=EmbeddingUsage(prompt_tokens=tokens, total_tokens=tokens),
            provenance=ours.provenance,
        )
        return Response(body.model_dump_json(), headers=ours.headers(x_call_id), media_type="application/json")

    app.router.add_api_route(
        PATH,
        call,
        methods=["POST"],
        response_model=EmbeddingList,
        responses=ERRORS,
        summary="The vectors of texts, as OpenAI's clients ask for them",
        operation_id="embeddings",
        tags=["OpenAI-compatible"],
        route_class_override=StrictRoute,
    )


def _embedding(number: int, values: Sequence[float], asked: EmbeddingRequest) -> Embedding:
    if asked.encoding_format == "base64":
        packed = struct.pack(f"<{len(values)}f", *values)
        return Embedding(index=number, embedding=base64.b64encode(packed).decode("ascii"))
    return Embedding(index=number, embedding=list(values))


def _refuse_other_dimensions(asked: EmbeddingRequest, own: int | None) -> None:
    if own is None:
        raise inputs.wrong("model", asked.model, "a version that makes vectors; another family answers this task here")
    if asked.dimensions not in (None, own):
        raise inputs.wrong("dimensions", asked.dimensions, f"{own}: vectors are what was judged, and are not cut")

"""`POST /v1/moderations`, as OpenAI's clients call it: a review label's probabilities over the whole label tree.

It is answered by tasks that declare harmless labels. Flagged is what they answer with any other label: the decision
that the gate judged. No `from __future__ import annotations` here: FastAPI reads the types of these routes.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Request, Response
from pydantic import Field

from hotline import labels
from hotline.errors import InputError
from hotline.labels import LabelTree
from hotline.policy import Limits
from hotline.task import Task
from hotline.tasks import TASKS, find
from hotline.wishes import Wish
from serving import batches, inputs
from serving.bodies import Body, Provenance
from serving.calls import ERRORS, Call, CallId, answering_one_of
from serving.chat_request import Strict, TextPart
from serving.strict import StrictRoute
from serving.switchboard import Switchboard

PATH = "/v1/moderations"


class PicturePart(Strict):
    """OpenAI's; refused with the reason."""

    type: Literal["image_url"]
    image_url: dict[str, Any]


Part = Annotated[TextPart | PicturePart, Field(discriminator="type")]


class ModerationRequest(Strict):
    """Texts to be reviewed. Unknown fields are refused."""

    input: Annotated[
        str | Annotated[list[str], Field(min_length=1)] | Annotated[list[Part], Field(min_length=1)],
        Field(description="A text; several, with a result each; or parts of type text, which are one text"),
    ]
    model: Annotated[
        str | None,
        Field(max_length=300, description="The line, `line@version`, or the task; without it whatever moderates here"),
    ] = None

    @property
    def texts(self) -> list[str]:
        """One for each result. Raises InputError for a picture."""
        if isinstance(self.input, str):
            return [self.input]
        for number, part in enumerate(self.input):
            if isinstance(part, PicturePart):
                raise InputError(
                    "no version here looks at pictures",
                    where=f"body.input.{number}",
                    found="a part of type image_url",
                    expected="parts of type text",
                    next="send the text alone",
                )
        parts = [part.text for part in self.input if isinstance(part, TextPart)]
        return ["\n".join(parts)] if parts else [text for text in self.input if isinstance(text, str)]


class Moderation(Body):
    """One input. Categories are all paths of the label tree, leaves and branches, but the harmless ones."""

    flagged: bool = Field(description="The likeliest label is not harmless")
    categories: dict[str, bool] = Field(description="True for the likeliest label and its branches, when flagged")
    category_scores: dict[str, float] = Field(
        description="Probabilities, as calibrated as the version is; a branch's is the sum of its leaves'"
    )
    category_applied_input_types: dict[str, list[Literal["text"]]]


class ModerationReply(Body):
    """One result per input, in order, all by one version."""

    id: str = Field(description="Request id: names the task, the version's digest and the ledger entry by itself")
    model: str = Field(description="line@version")
    results: list[Moderation]
    provenance: Provenance


def add(app: FastAPI, switchboard: Switchboard, limits: Limits) -> None:
    """Add the route."""
    moderating = [task for task in TASKS.values() if task.harmless]

    async def call(request: Request, asked: ModerationRequest, x_call_id: CallId = None) -> Response:
        texts = asked.texts
        batches.refuse_too_many(texts, limits, "body.input")
        with answering_one_of(request, switchboard, asked.model, moderating, "model that moderates") as ours:
            results = await _reviewed(switchboard, ours, texts)
        model = f"{ours.route.line}@{ours.route.version}"
        reply = ModerationReply(id=ours.id, model=model, results=results, provenance=ours.provenance)
        return Response(reply.model_dump_json(), headers=ours.headers(x_call_id), media_type="application/json")

    app.router.add_api_route(
        PATH,
        call,
        methods=["POST"],
        response_model=ModerationReply,
        responses=ERRORS,
        summary="What must not be published or said, as OpenAI's clients ask for it",
        operation_id="moderations",
        tags=["OpenAI-compatible"],
        route_class_override=StrictRoute,
    )


async def _reviewed(switchboard: Switchboard, ours: Call, texts: Sequence[str]) -> list[Moderation]:
    """A result per text. Raises RequestValidationError for a text that the task does not take, before any is asked."""
    task = find(ours.route.task)
    questions = inputs.of_texts(task, texts)
    known = (await switchboard.abilities(ours.route)).labels
    if not known:
        raise InputError(
            "this version tells no probabilities of labels", where="body.model", found=ours.route.line, next="see /docs"
        )
    tree = LabelTree.of(known)
    replies = await batches.asked(switchboard, ours.route, questions, Wish(options=tree.leaves))
    every = ([said, *said["alternatives"]] for said in replies)
    return [
        moderation(task, tree, {each["answer"][task.label_field]: each["confidence"] for each in ranked})
        for ranked in every
    ]


def moderation(task: Task, tree: LabelTree, shares: Mapping[str, float]) -> Moderation:
    """The result of a text whose leaves have these probabilities, the likeliest first."""
    label = next(iter(shares))
    flagged = not labels.lies_under(label, task.harmless)
    scores = {
        path: min(1.0, math.fsum(shares[tree.leaves[number]] for number in numbers))
        for path, numbers in tree.branches.items()
        if not labels.lies_under(path, task.harmless)
    }
    return Moderation(
        flagged=flagged,
        categories={path: flagged and labels.lies_under(label, [path]) for path in scores},
        category_scores=scores,
        category_applied_input_types={path: ["text"] for path in scores},
    )

"""`POST /v1/decisions`: what a classifier thinks of a caller's own question over its label tree.

No `from __future__ import annotations` here: FastAPI reads the types of these routes.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from hotline.labels import SEPARATOR, LabelTree, level
from hotline.task import Task
from hotline.tasks import find
from hotline.wishes import Wish
from serving import inputs
from serving.bodies import Body, Provenance
from serving.calls import ERRORS, CallId, answering
from serving.strict import MAX_NAME_CHARACTERS, StrictRoute
from serving.switchboard import Switchboard

PATH = "/v1/decisions"
MAX_OPTIONS = 10_000
Kind = Literal["predicate", "choice", "score"]
Path = Annotated[str, Field(min_length=1, max_length=300)]


class Question(BaseModel):
    """One decision about one input."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    task: Annotated[str, Field(max_length=200, description="A task that a classifier answers")]
    input: Annotated[dict[str, Any], Field(description="As at /v1/tasks/{task}")]
    kind: Kind
    options: Annotated[
        tuple[Path, ...],
        Field(max_length=MAX_OPTIONS, description="Leaves or branches of the label tree; for a predicate one"),
    ] = ()
    branch: Annotated[Path | None, Field(description="In place of options, a choice among all leaves of it")] = None
    values: Annotated[
        dict[Path, Annotated[float, Field(allow_inf_nan=False)]],
        Field(max_length=MAX_OPTIONS, description="For a score: what each option is worth"),
    ] = {}
    threshold: Annotated[float, Field(gt=0, lt=1, description="For a predicate: true from here on")] = 0.5

    @model_validator(mode="after")
    def _fits_together(self) -> "Question":
        given = {name for name in ("options", "branch", "values", "threshold") if name in self.model_fields_set}
        allowed = {"predicate": {"options", "threshold"}, "choice": {"options", "branch"}, "score": {"values"}}
        if strange := given - allowed[self.kind]:
            raise PydanticCustomError(
                "kind", "a {kind} takes no {fields}", {"kind": self.kind, "fields": " and no ".join(sorted(strange))}
            )
        wanted = {"predicate": len(self.options) == 1, "score": len(self.values) > 0}
        if not wanted.get(self.kind, (len(self.options) > 0) != (self.branch is not None)):
            needs = {"predicate": "exactly one option", "choice": "options or a branch", "score": "values"}
            raise PydanticCustomError("kind", "a {kind} needs {what}", {"kind": self.kind, "what": needs[self.kind]})
        return self


class OptionProbability(Body):
    option: str
    probability: float


class Decision(Body):
    """What was decided, and how probable each option is among those given, as calibrated as the version is."""

    id: str = Field(description="Request id: names the task, the version's digest and the ledger entry by itself")
    task: str
    kind: Kind
    answer: bool | str | float = Field(description="True or false, the best option, or the expected value")
    confidence: float = Field(ge=0, le=1, description="Probability of the answer; of a score's likeliest option")
    probabilities: list[OptionProbability] = Field(description="Best first; they sum to 1")
    mass: float = Field(description="What the options had of all probability before: little, and none of them fits")
    provenance: Provenance


def add(app: FastAPI, switchboard: Switchboard) -> None:
    """Add the route."""

    async def call(request: Request, question: Question, x_call_id: CallId = None) -> Response:
        task = _classifier(question.task)
        given = inputs.checked(task, question.input)
        with answering(request, switchboard, task) as ours:
            labels = (await switchboard.abilities(ours.route)).labels
            if not labels:
                raise inputs.wrong(
                    "task", task.name, "a task that a classifier answers; a writer answers this one here"
                )
            tree = LabelTree.of(labels)
            options = _options(question, tree)
            said = await switchboard.ask(ours.route, given, wish=Wish(options=options))
        shares = _shares(said, str(task.label_field))
        body = Decision(
            id=ours.id, task=task.name, kind=question.kind, provenance=ours.provenance, **decided(question, shares)
        )
        return Response(body.model_dump_json(), headers=ours.headers(x_call_id), media_type="application/json")

    app.router.add_api_route(
        PATH,
        call,
        methods=["POST"],
        response_model=Decision,
        responses=ERRORS,
        summary="A predicate, a choice or a score over a classifier's label tree",
        operation_id="decisions",
        tags=["tasks"],
        route_class_override=StrictRoute,
    )


def decided(question: Question, shares: Sequence[tuple[str, float]]) -> dict[str, Any]:
    """`answer`, `confidence`, `probabilities` and `mass` of a question whose options have these probabilities."""
    mass = math.fsum(share for _, share in shares)
    if question.kind == "predicate":
        [(_, share)] = shares
        answer = share >= question.threshold
        both = sorted((("true", share), ("false", 1 - share)), key=lambda pair: -pair[1])
        return {"answer": answer, "confidence": share if answer else 1 - share, "mass": 1.0, **_listed(both)}
    among = [(name, share / mass if mass > 0 else 1 / len(shares)) for name, share in shares]
    best, confidence = among[0]
    worth = math.fsum(question.values[name] * share for name, share in among) if question.kind == "score" else 0.0
    answered = worth if question.kind == "score" else best
    return {"answer": answered, "confidence": min(1.0, confidence), "mass": min(1.0, mass), **_listed(among)}


def _listed(pairs: Sequence[tuple[str, float]]) -> dict[str, list[OptionProbability]]:
    return {"probabilities": [OptionProbability(option=name, probability=share) for name, share in pairs]}


def _shares(said: Mapping[str, Any], label_field: str) -> list[tuple[str, float]]:
    every = [said, *said["alternatives"]]
    return [(each["answer"][label_field], each["confidence"]) for each in every]


def _classifier(name: str) -> Task:
    task = find(name[:MAX_NAME_CHARACTERS])
    if task.family != "classifier":
        raise inputs.wrong("task", name, "a task that a classifier answers")
    return task


def _options(question: Question, tree: LabelTree) -> tuple[str, ...]:
    """The options that the caller gives, or the leaves of the branch. Raises RequestValidationError for others."""
    if question.branch is not None:
        leaves = tuple(tree.leaves[number] for number in tree.branches.get(question.branch, ()))
        if not leaves:
            raise inputs.wrong("branch", question.branch, "a leaf or a branch of the version's label tree")
        return leaves
    options = question.options or tuple(question.values)
    place = "options" if question.options else "values"
    for where, found, expected in _problems(options, tree):
        raise inputs.wrong(f"{place}.{where}", found, expected)
    return options


def _problems(options: Sequence[str], tree: LabelTree) -> Iterator[tuple[int, str, str]]:
    every, seen = set(options), set[str]()
    for number, option in enumerate(options):
        above = (level(option, depth) for depth in range(1, option.count(SEPARATOR) + 1))
        if option not in tree.branches:
            yield number, option, "a leaf or a branch of the version's label tree"
        elif option in seen:
            yield number, option, "every option once"
        elif any(path in every for path in above):
            yield number, option, "options apart: this one lies in another"
        seen.add(option)

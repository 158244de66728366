"""What goes over the wire: answers, listings and errors, as the OpenAPI page shows them."""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from hotline.errors import HotlineError
from hotline.records import Outcome
from hotline.task import Profile
from serving.routes import Route

T = TypeVar("T", bound=BaseModel)


class Body(BaseModel):
    model_config = ConfigDict(frozen=True)


class Provenance(Body):
    """Which version answered, and on what evidence it may."""

    model: str = Field(description="The line: a registered model in MLflow")
    version: str
    digest: str = Field(description="Merkle root over every file of the version, SHA-256")
    verdict: str = Field(description="Hash of the verdict's ledger entry")
    promotion: int = Field(description="Number of the ledger entry that made this version the champion")
    profile: Profile
    outcome: Outcome
    site: str

    @classmethod
    def of(cls, route: Route) -> Provenance:
        names = set(cls.model_fields) - {"model"}
        return cls(model=route.line, **route.model_dump(include=names))


AnsweredBy = Annotated[
    Literal["small", "large", "small_after_large"] | None,
    Field(
        description="Of a cascade: the part that answered; `small_after_large`: the large one was asked, too, and named"
        " no label. Absent for a version of one part"
    ),
]


class Alternative(Body, Generic[T]):
    """Something else that the model considered."""

    answer: T
    confidence: float


class Reply(Body, Generic[T]):
    """An answer, how sure the model is of it, and where it comes from."""

    id: str = Field(description="Request id: names the task, the version's digest and the ledger entry by itself")
    task: str
    answer: T
    confidence: float = Field(ge=0, le=1)
    alternatives: list[Alternative[T]]
    answered_by: AnsweredBy = None
    provenance: Provenance


class Tried(Body):
    """A version beside the champion."""

    stage: Literal["shadow", "canary"] = Field(description="In the shadow nobody hears it")
    model: str = Field(description="line@version")
    digest: str
    share: float = Field(description="Of the calls: mirrored to it, or answered by it")


class ListedTask(Body):
    name: str
    summary: str
    path: str
    served: bool
    why_not: str | None = None
    provenance: Provenance | None = None
    tried: Tried | None = None


class TaskList(Body):
    tasks: list[ListedTask]


class TaskLoad(Body):
    """Calls of one task that this ingress has taken since it started."""

    ongoing: int
    answered: int
    failed: int = Field(description="Without those that were the caller's mistake")
    median_seconds: float | None = Field(description="Of the last answers")


class LoadList(Body):
    tasks: dict[str, TaskLoad]


class DriftSignal(Body):
    """One thing that is watched."""

    name: str = Field(description="text, length, answer, dialect, confidence")
    threshold: float = Field(description="Bits; a window that diverges more is flagged")
    divergence: float | None = Field(description="Jensen-Shannon divergence of the last full window, in bits")
    psi: float | None = Field(description="Population stability index of the last full window")
    flagged: bool
    alarms: int = Field(description="Windows flagged so far")
    moved: list[tuple[str, float, float]] = Field(description="What moved most: bin, usual share, share in the window")


class Drifting(Body):
    """How far the requests of one version have moved from what it was trained and judged on."""

    task: str
    version: str
    digest: str
    window: int = Field(description="Requests that are compared at a time")
    filled: int = Field(description="Requests in the window that is filling")
    windows: int = Field(description="Full windows so far")
    judged: float | None = Field(description="When the last window was full, in seconds since 1970")
    signals: list[DriftSignal]


class DriftList(Body):
    versions: list[Drifting]


class ListedModel(Body):
    id: str = Field(description="line@version")
    object: Literal["model"] = "model"
    created: int = Field(description="When it was promoted, in seconds since 1970")
    owned_by: str
    task: str
    version: str
    digest: str
    verdict: str
    profile: Profile
    engine: str = Field(description="`in process`, or `upstream`: a server that we started from the verified files")


class ModelList(Body):
    object: Literal["list"] = "list"
    data: list[ListedModel]


class Liveness(Body):
    status: Literal["alive"] = "alive"


class Readiness(Body):
    ready: bool
    map: int = Field(description="Number of the route map that this ingress answers by")
    head: str = Field(description="Hash of the ledger's last entry that was followed")
    served: dict[str, str] = Field(description="task → line@version")
    unserved: dict[str, str] = Field(description="task → why its champion does not answer")
    notes: tuple[str, ...] = Field(description="What a person should know although everything is served")
    trouble: str | None


class Detail(Body):
    """One field that is wrong."""

    where: str
    found: str | None
    expected: str


class Problem(Body):
    """What is wrong, where, found against expected, and what to do next."""

    code: str
    message: str
    where: str | None = None
    found: str | None = None
    expected: str | None = None
    next: str | None = None
    request_id: str
    details: list[Detail] = []


class ErrorBody(Body):
    """Every error of every route has this shape."""

    error: Problem


def problem(error: HotlineError, request_id: str) -> ErrorBody:
    fields: dict[str, Any] = error.as_dict()
    return ErrorBody(error=Problem(**fields, request_id=request_id))

"""What the ledger records: verdicts, promotions and rollbacks. Schema version 1; fields are added, never changed."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from hotline.task import Profile

Outcome = Literal["passed", "failed", "insufficient evidence"]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    site: str
    task: str
    time: Annotated[str, Field(description="UTC, ISO 8601")]


class Figure(BaseModel):
    """A score over one slice: n rows in `clusters` independent clusters, and its 95 % interval."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    score: str
    slice: str | None = None
    value: str | None = None
    rows: int
    clusters: int
    estimate: float | None
    low: float | None
    high: float | None


class Finding(BaseModel):
    """What one bar found, with the figure it decided on, in words that name the reason."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bar: str
    outcome: Outcome
    reason: str
    figure: Figure | None = None


class Test(BaseModel):
    """The claim that a score regressed there, tested; made when p after Holm's correction over all is at most 5 %."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    __test__: ClassVar[bool] = False  # pytest would collect it for its name

    name: str
    score: str
    slice: str | None = None
    value: str | None = None
    difference: float
    """Candidate − champion."""
    p: float
    p_holm: float
    claimed: bool


class Wanted(BaseModel):
    """What would settle a bar without enough evidence: this many more test calls of that slice."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bar: str
    slice: str | None = None
    value: str | None = None
    calls_missing: int | None
    """None when no practical number of calls would settle it."""
    why: str


class ModelAddress(BaseModel):
    """Which bytes: the Merkle root over every served file, and where they are registered."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    line: str
    version: str
    digest: Digest
    files: dict[str, Digest]
    run_id: str


class Lineage(BaseModel):
    """What a version was made from. It lies among the version's own files, so the version's digest covers it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    declarations: dict[str, Digest]
    """The tasks that the version answers, and the declaration of each that it was made for."""
    snapshot: Digest
    """What the version was trained on."""
    recipe: Digest
    code: Digest
    base: Digest | None
    """Of the pretrained files it started from; None from scratch."""


LINEAGE_FILE = "lineage.json"


class Evidence(BaseModel):
    """The digests that a verdict stands on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    lineage: Lineage
    test_snapshot: Digest
    test_rows: Digest
    """Of the ids and targets of the test rows, so that a re-labelled test set is another one."""
    policy: Digest
    answers: Digest
    """Of the file of answers, kept with the verdict report."""


class Verdict(Record):
    """For one (version, task, profile): passed, failed or insufficient evidence, with a finding per bar."""

    kind: Literal["verdict"] = "verdict"
    profile: Profile
    model: ModelAddress
    outcome: Outcome
    findings: tuple[Finding, ...]
    figures: tuple[Figure, ...]
    evidence: Evidence
    previous_champion: Digest | None
    libraries: dict[str, str]
    tests: tuple[Test, ...] = ()
    settles: tuple[Wanted, ...] = ()


class Promotion(Record):
    """From now on this version answers the task at this site."""

    kind: Literal["promotion"] = "promotion"
    model: ModelAddress
    verdict: Digest
    """Hash of the verdict's ledger entry."""
    previous_champion: Digest | None
    engine: Literal["in process"] = "in process"
    reason: str


class Rollback(Record):
    """The previous champion answers again; its promotion's model and verdict are repeated here."""

    kind: Literal["rollback"] = "rollback"
    model: ModelAddress
    verdict: Digest
    previous_champion: Digest
    engine: Literal["in process"] = "in process"
    reason: str


AnyRecord = Annotated[Verdict | Promotion | Rollback, Field(discriminator="kind")]
ADAPTER: TypeAdapter[Verdict | Promotion | Rollback] = TypeAdapter(AnyRecord)
ROLE_OF = {"verdict": "gate", "promotion": "operator", "rollback": "operator"}

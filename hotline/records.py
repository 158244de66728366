"""What the ledger records: verdicts, approvals, trials, promotions and rollbacks. Schema version 1.

Fields are added, never changed, and what is added has a default: an entry of any age can be read.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from hotline.conversions import Conversion
from hotline.machine import Hardware, Revision
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
    together: bool = False
    """Whether all of `declarations` must pass before any of them is promoted; its recipe says so."""
    converted: Conversion | None = None
    """None for a version as it was trained."""
    family: str | None = None
    """The family that answers; None: the tasks' own."""
    parts: dict[str, Origin] = {}
    """Of a version that was put together from others: what each is in it, and where it comes from."""


class Origin(BaseModel):
    """A registered version that another one is made of."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    line: str
    version: str
    digest: Digest
    lineage: Lineage


LINEAGE_FILE = "lineage.json"


class LeakCheck(BaseModel):
    """How it was made sure that the version had not seen its test rows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    compared: tuple[str, ...]
    """What both sides must not share: row, call, caller and so on."""
    test_rows: int
    trained_rows: dict[str, int]
    """Rows of the training snapshot by split."""
    warnings: tuple[str, ...] = ()
    """What both sides share and may, and what kind of truth it is."""


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
    splits: dict[str, Digest] = {}
    """Of the ids on each side of the test snapshot."""
    bars: Digest | None = None
    """Of the bars that the profile demanded."""
    adapter: Digest | None = None
    """Merkle root over the version's adapter files; None for whole weights."""
    merge_report: Digest | None = None
    """Of the comparison of merged and unmerged weights; None where nothing was merged."""
    leaks: LeakCheck | None = None


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
    code: Revision | None = None
    """None outside of a git checkout."""
    hardware: Hardware | None = None
    tests: tuple[Test, ...] = ()
    settles: tuple[Wanted, ...] = ()
    parts: dict[str, int] = {}
    """Test rows by the part that answered them; empty for a version of one part."""


class Approval(Record):
    """A person other than the operator agrees that this very verdict entitles to a promotion."""

    kind: Literal["approval"] = "approval"
    model: ModelAddress
    verdict: Digest
    """Hash of the verdict's ledger entry."""
    reason: str


class Promotion(Record):
    """From now on this version answers the task at this site."""

    kind: Literal["promotion"] = "promotion"
    model: ModelAddress
    verdict: Digest
    """Hash of the verdict's ledger entry."""
    previous_champion: Digest | None
    engine: Literal["in process"] = "in process"
    reason: str
    approvals: tuple[Digest, ...] = ()
    """Hashes of the approvals' ledger entries."""


class Rollback(Record):
    """The previous champion answers again; its promotion's model and verdict are repeated here."""

    kind: Literal["rollback"] = "rollback"
    model: ModelAddress
    verdict: Digest
    previous_champion: Digest
    engine: Literal["in process"] = "in process"
    reason: str


class Trial(Record):
    """From now on this version is tried beside the champion: in the shadow, or on a share of the calls; or no more."""

    kind: Literal["trial"] = "trial"
    stage: Literal["shadow", "canary", "withdrawn"]
    model: ModelAddress
    verdict: Digest
    champion: Digest
    share: Annotated[float, Field(ge=0, le=1)]
    """Of the calls: mirrored to it in the shadow, answered by it as a canary."""
    engine: Literal["in process"] = "in process"
    reason: str
    approvals: tuple[Digest, ...] = ()


AnyRecord = Verdict | Approval | Promotion | Rollback | Trial
ADAPTER: TypeAdapter[AnyRecord] = TypeAdapter(Annotated[AnyRecord, Field(discriminator="kind")])
ROLE_OF = {"verdict": "gate", "approval": "approver"} | dict.fromkeys(("promotion", "rollback", "trial"), "operator")
ENVIRONMENT = ("time", "code", "hardware")
"""Of a verdict, when and where it was reached; the same evidence elsewhere is the same verdict."""

"""The declaration. A task is declared once; the data contract, the training columns, the gate, the registry
signature and the HTTP endpoint all come out of that one object."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, StringConstraints, field_validator

from hotline import digests
from hotline.audio import Audio
from hotline.costs import Cost
from hotline.dialects import UNKNOWN, check_tag
from hotline.prompts import Prompt
from hotline.wishes import Vector, Word

if TYPE_CHECKING:
    from hotline.scores import Score

Profile = Literal["demo", "production"]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
ASKED = ("writer", "cascade")  # families whose versions are made for one wording of the task's prompt
Verbatim = Annotated[str, StringConstraints(strip_whitespace=False)]


class Part(BaseModel):
    """A typed part of a row. Unknown fields are refused, values never change, blanks at the ends are dropped."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


class Input(Part):
    """What a caller may send."""


class Target(Part):
    """The answer."""


@dataclass(frozen=True)
class FromTree:
    """Marks the field of a target that holds a path of the corpus's label tree."""


@dataclass(frozen=True)
class FromProvenance:
    """Marks the field of a target that is a column of the row's provenance: said once, not stored twice."""

    column: str


class Span(Part):
    """Personal data that was replaced: characters [start, end) of an input field, and what they stand for."""

    field: Name
    start: Annotated[int, Field(ge=0)]
    end: Annotated[int, Field(ge=1)]
    kind: Name


class Provenance(Part):
    """Where a row comes from, and who says that its target is true."""

    site: Name
    call_id: Name
    """The hotline's own number of the call or ticket; a keyed hash where it could identify a person."""
    caller_id: Name
    """Keyed hash of the caller; one caller is on one side of a split, for good."""
    language: Name = "zh"
    dialect: Name = UNKNOWN
    region: Name = UNKNOWN
    """District, city or province that the call is about."""
    channel: Name = UNKNOWN
    source: Name
    """The file or system that the row was imported from."""
    convention: Name = "none"
    """Transcription convention of spoken text."""
    label_source: Name = "human"
    """`human`, `generated`, or `machine:<system>`."""
    label_batch: Name
    confidence: Annotated[float, Field(ge=0, le=1)] = 1.0
    personal: tuple[Span, ...] = ()

    @field_validator("dialect")
    @classmethod
    def _known_dialect(cls, tag: str) -> str:
        return check_tag(tag)


class Row(Part):
    """Input + Target + Provenance under one id."""

    id: Name
    input: SerializeAsAny[Input]
    target: SerializeAsAny[Target]
    provenance: Provenance


class Answer(Part):
    """What a model says: a target, how sure it is, and what else it considered, best first."""

    target: SerializeAsAny[Target]
    confidence: Annotated[float, Field(ge=0, le=1)]
    alternatives: tuple[tuple[Target, float], ...] = ()
    tokens: tuple[tuple[Verbatim, float], ...] = ()
    """Of a text, in the model's own pieces, each with its probability; where the family tells them."""
    words: tuple[Word, ...] = ()
    """Of a transcript, where they lie in the sound; only when they were wished for."""
    vector: Vector | None = None  # of the input; only when it was wished for
    cost: Cost | None = None
    """Measured for tasks with a score of it only, and never told to callers."""
    answered_by: str | None = None
    """Of a version made of several, the part that said it."""


@dataclass(frozen=True)
class Bar:
    """One blocking condition of the gate: exactly one of a floor, a ceiling, or non-inferiority to the champion.

    With `slice`, the condition holds for every value of that provenance column, not for the average one.
    """

    score: str
    at_least: float | None = None
    at_most: float | None = None
    not_worse_than_champion_by: float | None = None
    slice: str | None = None
    minimum_rows: int = 20
    """Fewer test rows than this and the bar is not decided: insufficient evidence."""

    def __post_init__(self) -> None:
        conditions = (self.at_least, self.at_most, self.not_worse_than_champion_by)
        if sum(condition is not None for condition in conditions) != 1:
            raise ValueError(f"a bar on {self.score!r} needs exactly one condition, found {conditions}")

    def declared(self) -> dict[str, Any]:
        """The bar as data, without what it leaves at its default, so that a new kind of bar changes no old one."""
        return {each.name: value for each in fields(self) if (value := getattr(self, each.name)) != each.default}

    def words(self) -> str:
        """The bar as a person reads it, for findings and docs."""
        if self.at_least is not None:
            condition = f"at least {self.at_least:g}"
        elif self.at_most is not None:
            condition = f"at most {self.at_most:g}"
        else:
            condition = f"not worse than the champion by {self.not_worse_than_champion_by:g}"
        return f"{self.score} {condition}" + (f" in every {self.slice}" if self.slice else "")


@dataclass(frozen=True)
class Task:
    """A promise: what goes in, what comes out, how it is scored, what earns an endpoint."""

    name: str
    summary: str
    family: Literal["classifier", "transcriber", "writer", "cascade", "embedder"]
    input: type[Input]
    target: type[Target]
    scores: Mapping[str, Score]
    bars: Mapping[Profile, tuple[Bar, ...]]
    split_by: tuple[str, ...] = ("caller_id",)
    slices: tuple[str, ...] = ()
    derived_slices: Mapping[str, Callable[[Any], str]] = field(default_factory=dict)
    """Slices that the input itself tells, such as a recording's length: name → its value for an input."""
    corpus: str | None = None
    """The task whose rows these are, seen as this task's own; None when it has a corpus of its own."""
    targets: Mapping[str, float] = field(default_factory=dict)
    """Figures to report against; they block nothing."""
    examples: tuple[Mapping[str, Any], ...] = ()
    """Inputs for the OpenAPI page and for warming up; made up, never from a caller."""
    prompt: Prompt | None = None
    """How a writer is asked; every task of that family has one, and others that a writer may answer, too."""
    harmless: tuple[str, ...] = ()
    """Leaves or branches of the label tree that flag nothing; with any, the task moderates what people write."""

    def __post_init__(self) -> None:
        self._check_prompt()
        if self.harmless and (self.label_field is None or [*self.input.model_fields] != ["text"]):
            raise ValueError(f"{self.name}: harmless labels want a label tree, and an input of one `text`")
        unknown = {bar.score for bars in self.bars.values() for bar in bars} | set(self.targets)
        if unknown - set(self.scores):
            raise ValueError(f"{self.name}: bars or targets name scores it does not have: {unknown - set(self.scores)}")
        columns = set(Provenance.model_fields)
        if columns & set(self.derived_slices):
            raise ValueError(f"{self.name}: derived slices hide columns: {columns & set(self.derived_slices)}")
        sliced = {bar.slice for bars in self.bars.values() for bar in bars if bar.slice} - set(self.derived_slices)
        named = sliced | {*self.slices, *self.split_by}
        if named - columns:
            raise ValueError(f"{self.name}: slices name columns that provenance does not have: {named - columns}")

    def _check_prompt(self) -> None:
        if self.family in ASKED and self.prompt is None:
            raise ValueError(f"{self.name}: tasks of the family {self.family} have a prompt")
        if self.prompt and self.prompt.fields - set(self.input.model_fields):
            raise ValueError(f"{self.name}: the prompt names fields that the input does not have")

    @property
    def corpus_name(self) -> str:
        """The folder of its rows."""
        return self.corpus or self.name

    @property
    def provenance_fields(self) -> dict[str, str]:
        """Target fields that are a column of provenance, with that column."""
        return {
            name: mark.column
            for name, info in self.target.model_fields.items()
            for mark in info.metadata
            if isinstance(mark, FromProvenance)
        }

    @property
    def timed(self) -> bool:
        """Whether a score says what answers cost."""
        return any(score.timed for score in self.scores.values())

    @property
    def audio_field(self) -> str | None:
        """The input field that is sound, or None."""
        return next((name for name, info in self.input.model_fields.items() if info.annotation is Audio), None)

    @property
    def label_field(self) -> str | None:
        """The target field that holds a path of the label tree, or None for tasks without one."""
        fields = self.target.model_fields.items()
        return next((name for name, info in fields if any(isinstance(m, FromTree) for m in info.metadata)), None)

    def row(self, id: str, input: Mapping[str, Any], target: Mapping[str, Any], provenance: Mapping[str, Any]) -> Row:
        """A typed row. Raises pydantic's ValidationError, whose locations name input, target or provenance."""
        return Row(
            id=id,
            input=self.input.model_validate(input),
            target=self.target.model_validate(target),
            provenance=Provenance.model_validate(provenance),
        )

    def bars_digest(self, profile: Profile) -> str:
        """Of the bars of that profile: a verdict under other bars says nothing about these."""
        return digests.of_value([bar.declared() for bar in self.bars.get(profile, ())])

    def declaration(self) -> dict[str, Any]:
        """The declaration as data: what is stored with a model and compared when it is loaded."""
        said: dict[str, Any] = {"task": self.name, "family": self.family}
        said |= {"input": self.input.model_json_schema(), "target": self.target.model_json_schema()}
        said |= {"harmless": list(self.harmless)} if self.harmless else {}
        return said | ({"prompt": self.prompt.declaration()} if self.prompt and self.family in ASKED else {})

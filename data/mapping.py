"""Which column is what: the mapping from somebody's table to a task's rows, a YAML file reviewed with the data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, field_validator

from data.speech_mapping import NAME_COLUMNS, Format, Recordings
from data.tables import read_table
from hotline import labels
from hotline.errors import InputError
from hotline.labels import LabelTree
from hotline.task import Provenance, Task

FROM_ROWS = "from rows"
COMPUTED = ("personal",)
"""Provenance that the import itself finds out."""


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class TreeFile(BaseModel):
    """A table with one column per level of the label tree; or YAML, a list of paths or nested mappings."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Path
    levels: tuple[str, ...] = ()


class Mapping(BaseModel):
    """Dotted names of a row's fields, and the columns that fill them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    columns: dict[str, Annotated[tuple[str, ...], Field(min_length=1)]]
    """Several columns are joined: by a newline in `input`, as the levels of a path in a label."""
    values: dict[str, dict[str, str]] = {}
    """What the cells of a column stand for, such as {label: {"0": 正常}}; any other cell quarantines its row."""
    constants: dict[str, str] = {}
    """Provenance that is the same for every row."""
    labels: Literal["from rows"] | TreeFile = "from rows"
    recordings: Recordings = Recordings()
    """Only for tasks about sound."""
    files: tuple[Path, ...] = ()
    max_quarantined: Annotated[float, Field(ge=0, le=1)] = 0.05
    """A larger share of quarantined rows refuses the whole import."""
    _path: Path = PrivateAttr(default=Path("mapping.yaml"))

    @field_validator("columns", mode="before")
    @classmethod
    def _one_or_more(cls, columns: Any) -> Any:
        return {name: _as_list(value) for name, value in columns.items()} if isinstance(columns, dict) else columns

    @field_validator("labels", mode="before")
    @classmethod
    def _path_alone(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str) and value != FROM_ROWS else value

    @property
    def path(self) -> Path:
        """The file that this mapping was read from; other paths in it are relative to its folder."""
        return self._path

    def named_columns(self) -> list[str]:
        """Every column of the table that the mapping names."""
        return list(dict.fromkeys(column for columns in self.columns.values() for column in columns))

    def required_columns(self) -> list[str]:
        """Those of them, and of its `recordings` section, that a table of transcripts must have."""
        plan = self.recordings
        given = {*NAME_COLUMNS, *plan.groups, *plan.optional}
        text = self.columns.get("target.text", ()) if plan.channel_texts else ()
        named = [*self.named_columns(), *plan.own_columns()]
        own = {*self.columns.get("input.audio", ())}
        return [name for name in dict.fromkeys(named) if name in own or name not in given | set(text)]

    def read_as(self, format: Format) -> Mapping:
        """The same mapping, for recordings whose transcripts come in that format."""
        return self.model_copy(update={"recordings": self.recordings.model_copy(update={"format": format})})

    def default_files(self) -> list[Path]:
        return [self.path.parent / file for file in self.files]

    def tree(self) -> LabelTree | None:
        """The label tree of the named file, or None when the rows bring their own. Raises InputError."""
        if not isinstance(self.labels, TreeFile):
            return None
        path = self.path.parent / self.labels.path
        if path.suffix in {".yaml", ".yml"}:
            return LabelTree.of(_yaml_paths(path))
        table = read_table(path, self.labels.levels)
        levels = list(self.labels.levels) or list(table.columns)
        return LabelTree.of(labels.join(row) for row in table[levels].itertuples(index=False, name=None))

    def check(self, task: Task) -> None:
        """Raises InputError listing every key that the task's rows do not have, and every required one missing."""
        known = _known_fields(task)
        wrong = [f"columns.{key}: not a field of {task.name}" for key in self.columns if key not in known]
        wrong += [
            f"constants.{key}: not a provenance field" for key in self.constants if f"provenance.{key}" not in known
        ]
        wrong += [
            f"provenance.{key}: both a column and a constant"
            for key in self.constants
            if f"provenance.{key}" in self.columns
        ]
        wrong += [f"values.{key}: no column of this mapping" for key in set(self.values) - set(self.named_columns())]
        wrong += [f"columns.{key}: missing" for key in _required_fields(task) if key not in self.columns]
        if wrong:
            raise InputError(
                f"the mapping does not fit {task.name}",
                where=str(self.path),
                found="; ".join(wrong),
                expected=", ".join(sorted(known)),
                next=f"edit {self.path}",
            )


def _known_fields(task: Task) -> set[str]:
    fields = {f"input.{name}" for name in task.input.model_fields}
    fields |= {f"target.{name}" for name in task.target.model_fields if name not in task.provenance_fields}
    fields |= {f"provenance.{name}" for name in Provenance.model_fields if name not in COMPUTED}
    return fields | {"id", "split"}


def _required_fields(task: Task) -> list[str]:
    parts = (("input", task.input), ("target", task.target))
    names = [f"{part}.{name}" for part, kind in parts for name, info in kind.model_fields.items() if info.is_required()]
    return [name for name in names if name in _known_fields(task)]


def load(path: Path) -> Mapping:
    """The mapping in that file. Raises InputError with every problem found."""
    try:
        mapping = Mapping.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise InputError(
            "the mapping cannot be read", where=str(path), found=error.strerror, next="--mapping FILE.yaml"
        ) from error
    except yaml.YAMLError as error:
        raise InputError("the mapping is not YAML", where=str(path), found=error, next=f"edit {path}") from error
    except ValidationError as error:
        wrong = [f"{'.'.join(map(str, item['loc'])) or 'mapping'}: {item['msg']}" for item in error.errors()]
        raise InputError(
            "the mapping is not valid", where=str(path), found="; ".join(wrong), next=f"edit {path}"
        ) from error
    mapping._path = path
    return mapping


def _yaml_paths(path: Path) -> list[str]:
    """Leaves of nested mappings and lists: {a: {b: [c, d]}} has a/b/c and a/b/d; a list of paths is itself."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise InputError("the label tree cannot be read", where=str(path), found=error, next=f"edit {path}") from error

    def leaves(node: Any, above: tuple[str, ...]) -> list[str]:
        if isinstance(node, dict):
            return [leaf for name, below in node.items() for leaf in leaves(below, (*above, str(name)))]
        if isinstance(node, list):
            return [leaf for item in node for leaf in leaves(item, above)]
        if node is None:
            return [labels.join(above)]
        return ["/".join(part for part in (labels.join(above), str(node).strip("/ ")) if part)]

    return leaves(content, ())

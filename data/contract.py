"""The data contract: a Great Expectations suite compiled from what a task declares, and its validation report.

Rows were typed one by one before; the contract says the same of the whole table that is stored, in a report that
people can read. A constraint that cannot be compiled raises: a contract that skips is none.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, cast

import pandas as pd
from pydantic import TypeAdapter, ValidationError

from data import columns
from data.contract_page import page
from hotline import dialects
from hotline.errors import ContractError
from hotline.labels import LabelTree
from hotline.task import Part, Provenance, Task

_SPOKEN_FOR = {"dialect": "_known_dialect"}
"""Validator functions whose rule the suite states itself."""
_ANNOTATIONS = {"title", "description", "default", "examples", "deprecated"}
_SCALAR_TYPES = {"string", "integer", "number", "boolean"}
_SHOWN_VALUES = 5
AS_DECLARED = " as declared"
"""A column beside a JSON column: whether the value has the declared type (a schema match per row costs 2 ms)."""


@dataclass(frozen=True)
class Report:
    """Outcome of one validation; `html` and `json` are the files it was written to."""

    checked: int
    failed: tuple[str, ...]
    html: Path
    json: Path


def compile_suite(task: Task, tree: LabelTree | None) -> Any:
    """The suite of a task. Raises ContractError naming a constraint that has no expectation."""
    import great_expectations as gx

    return gx.ExpectationSuite(name=task.name, expectations=list(_expectations(task, tree)))


def _expectation_classes() -> Any:
    """Great Expectations' own names, which it re-exports without saying so to type checkers."""
    return import_module("great_expectations.expectations")


def _expectations(task: Task, tree: LabelTree | None) -> Iterator[Any]:
    gxe = _expectation_classes()

    yield gxe.ExpectColumnValuesToNotBeNull(column="id")
    yield gxe.ExpectColumnValuesToBeUnique(column="id")
    yield gxe.ExpectColumnValuesToBeInSet(column="split", value_set=list(columns.SPLITS))
    yield gxe.ExpectColumnValuesToNotBeNull(column="cluster")
    for part, kind in (("input", task.input), ("target", task.target), ("provenance", Provenance)):
        _refuse_functions(kind)
        schema = kind.model_json_schema(mode="serialization")
        for field, rules in schema["properties"].items():
            if part == "target" and field in task.provenance_fields:
                continue
            yield from _of_field(f"{part}.{field}", rules, schema.get("$defs", {}))
    yield gxe.ExpectColumnValuesToBeInSet(column="provenance.dialect", value_set=sorted(dialects.tags()))
    if task.label_field and tree:
        yield gxe.ExpectColumnValuesToBeInSet(column=f"target.{task.label_field}", value_set=list(tree.leaves))


def _refuse_functions(kind: type[Part]) -> None:
    """A validator function in a part is a rule that no report can show."""
    found = kind.__pydantic_decorators__
    functions = {*found.field_validators, *found.validators, *found.model_validators, *found.root_validators}
    functions -= set(_SPOKEN_FOR.values()) if kind is Provenance else set()
    marks = {
        f"{name}: {type(mark).__name__}"
        for name, info in kind.model_fields.items()
        for mark in info.metadata
        if callable(getattr(mark, "func", None))
    }
    if functions | marks:
        raise ContractError(
            f"{kind.__name__} has rules that the contract cannot state",
            found=", ".join(sorted(functions | marks)),
            expected="lengths, patterns, sets and bounds",
            next="declare them as constraints of the field",
        )


def _of_field(column: str, rules: Mapping[str, Any], definitions: Mapping[str, Any]) -> Iterator[Any]:
    """The expectations of one field of a JSON schema; what a JSON column holds is checked by its declared type."""
    gxe = _expectation_classes()

    rules, optional = _resolved(rules, definitions)
    if not optional:
        yield gxe.ExpectColumnValuesToNotBeNull(column=column)
    if rules.get("type") in ("array", "object"):
        yield gxe.ExpectColumnValuesToBeInSet(column=column + AS_DECLARED, value_set=[True])
        return
    rest = {name: value for name, value in rules.items() if name not in _ANNOTATIONS}
    kind = rest.pop("type", "string" if "enum" in rest or "const" in rest else None)
    if kind not in _SCALAR_TYPES:
        raise _unknown(column, {"type": kind, **rest})
    if rest.get("format") == "binary":  # sound, stored by its digest
        rest |= {"pattern": "^[0-9a-f]{64}$"}
        del rest["format"]
    length = rest.pop("minLength", None), rest.pop("maxLength", None)
    if length != (None, None):
        yield gxe.ExpectColumnValueLengthsToBeBetween(column=column, min_value=length[0], max_value=length[1])
    yield from _bounds(column, rest)
    if "pattern" in rest:
        yield gxe.ExpectColumnValuesToMatchRegex(column=column, regex=rest.pop("pattern"))
    if "enum" in rest or "const" in rest:
        values = rest.pop("enum", None) or [rest.pop("const")]
        rest.pop("const", None)
        yield gxe.ExpectColumnValuesToBeInSet(column=column, value_set=values)
    if rest:
        raise _unknown(column, rest)


def _bounds(column: str, rest: dict[str, Any]) -> Iterator[Any]:
    gxe = _expectation_classes()

    low, above = rest.pop("minimum", None), rest.pop("exclusiveMinimum", None)
    high, below = rest.pop("maximum", None), rest.pop("exclusiveMaximum", None)
    if any(bound is not None for bound in (low, above, high, below)):
        yield gxe.ExpectColumnValuesToBeBetween(
            column=column,
            min_value=low if above is None else above,
            max_value=high if below is None else below,
            strict_min=above is not None,
            strict_max=below is not None,
        )


def _resolved(rules: Mapping[str, Any], definitions: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """The rules with a reference followed and `X | None` taken apart: (rules of X, whether None is allowed)."""
    found, optional = dict(rules), False
    if "anyOf" in found:
        options = [option for option in found.pop("anyOf") if option.get("type") != "null"]
        if len(options) != 1:
            raise ContractError("a field of several types has no contract", found=options, expected="one type, or None")
        found, optional = found | options[0], True
    if "$ref" in found:
        found |= definitions[found.pop("$ref").rsplit("/", 1)[-1]]
    return found, optional


def _unknown(column: str, rules: Mapping[str, Any]) -> ContractError:
    return ContractError(
        "the contract does not know this constraint",
        where=column,
        found=json.dumps(rules, ensure_ascii=False),
        expected="lengths, pattern, set, bounds",
        next="add it to data/contract.py",
    )


def validate(task: Task, tree: LabelTree | None, table: Any, folder: Path) -> Report:
    """Hold an Arrow table of rows to the contract; the report is written to `folder` either way.

    Raises ContractError naming every expectation that failed.
    """
    result = _run(compile_suite(task, tree), _frame(task, table))
    folder.mkdir(parents=True, exist_ok=True)
    report = Report(
        checked=len(result.results),
        failed=tuple(_words(item) for item in result.results if not item.success),
        html=folder / f"{task.name}.html",
        json=folder / f"{task.name}.json",
    )
    report.json.write_text(json.dumps(result.to_json_dict(), ensure_ascii=False, indent=1), encoding="utf-8")
    report.html.write_text(page(task.name, result.to_json_dict()), encoding="utf-8")
    if report.failed:
        raise ContractError(
            f"the rows break the contract of {task.name}; nothing was stored",
            where=str(report.html),
            found="; ".join(report.failed),
            next="correct the rows or the declaration, then hotline import again",
        )
    return report


def _frame(task: Task, table: Any) -> pd.DataFrame:
    """The rows, with a column AS_DECLARED beside every JSON column."""
    frame: pd.DataFrame = table.to_pandas()
    kinds: dict[str, type[Part]] = {"input": task.input, "target": task.target, "provenance": Provenance}
    for column in columns.of_task(task):
        if column.is_json:
            adapter = _adapter(kinds[column.part], column.field)
            frame[column.name + AS_DECLARED] = [_parses(adapter, value) for value in frame[column.name]]
    return frame


def _adapter(kind: type[Part], field: str) -> TypeAdapter[Any]:
    info = kind.model_fields[field]
    declared: Any = Annotated[cast(Any, info.annotation), info]
    return TypeAdapter(declared)


def _parses(adapter: TypeAdapter[Any], value: str) -> bool:
    try:
        adapter.validate_json(value)
    except ValidationError:
        return False
    return True


def _run(suite: Any, frame: pd.DataFrame) -> Any:
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    logging.getLogger(ProgressBarsConfig.__module__).setLevel(logging.WARNING)  # it reports its temporary folders
    context = gx.get_context(mode="ephemeral")
    context.enable_analytics(False)
    context.variables.progress_bars = ProgressBarsConfig(globally=False, metric_calculations=False)
    asset = context.data_sources.add_pandas("corpus").add_dataframe_asset("rows")
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame})
    return batch.validate(suite, result_format={"result_format": "SUMMARY", "partial_unexpected_count": _SHOWN_VALUES})


def _words(item: Any) -> str:
    """One failed expectation as a person reads it."""
    said = item.expectation_config
    rules = {k: v for k, v in said.kwargs.items() if k not in ("column", "batch_id", "value_set")}
    broken = item.exception_info.get("exception_message") if item.exception_info else None
    count = item.result.get("unexpected_count", math.nan) if item.result else math.nan
    return f"{said.kwargs.get('column')}: {said.type} {rules or ''} failed for {count} rows" + (
        f" ({broken})" if broken else ""
    )

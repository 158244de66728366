"""What a call gave, as a task's input: the same complaints on every route that takes inputs in a body."""

from collections.abc import Sequence
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from hotline.task import Input, Task


def checked(task: Task, given: Any) -> Input:
    """What lies under `input` in the body. Raises RequestValidationError naming the field that is wrong."""
    try:
        return task.input.model_validate(given)
    except ValidationError as error:
        raise RequestValidationError([_at(("body", "input", *each["loc"]), each) for each in error.errors()]) from error


def text_field(task: Task) -> str:
    """The field that a text alone fills: the only one of the task's input."""
    [field] = task.input.model_fields
    return field


def of_texts(task: Task, texts: Sequence[str]) -> list[Input]:
    """Each text as the task's input. Raises RequestValidationError for the first that it is not."""
    field, made = text_field(task), []
    for number, text in enumerate(texts):
        try:
            made.append(task.input.model_validate({field: text}))
        except ValidationError as error:
            # The body has no such field: its caller gave a text.
            raise RequestValidationError([_at(("body", "input", number), each) for each in error.errors()]) from error
    return made


def wrong(field: str, found: Any, expected: str) -> RequestValidationError:
    """A field that is well formed and still not what this version takes."""
    return RequestValidationError([{"type": "value_error", "loc": ("body", field), "msg": expected, "input": found}])


def _at(place: tuple[str | int, ...], error: Any) -> dict[str, Any]:
    return {**error, "loc": place}

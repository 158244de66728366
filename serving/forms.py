"""Forms with a recording (multipart/form-data), read strictly: one file, declared fields only, nothing twice."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from hotline.errors import InputError
from serving.strict import MAX_NAME_CHARACTERS, check_media_type

FILE_FIELD = "file"
MAX_FIELDS = 20
MAX_LISTED = 400
"""Values, all of them together, of fields that may be given more than once."""
MAX_FIELD_BYTES = 64 * 1024
FILE_SCHEMA = {"type": "string", "format": "binary", "description": "A recording: wav, flac, ogg (opus, vorbis), mp3"}


class BrokenForm(InputError):
    http_status, code = 400, "broken_form"


@dataclass(frozen=True)
class Form:
    """The recording's bytes, and the other fields by name, each with every value it was given."""

    content: bytes
    fields: Mapping[str, list[str]]


async def read(request: Request, lists: Iterable[str] = ()) -> Form:
    """The form of this request; only fields in `lists` may be given more than once.

    Raises WrongMediaType, BrokenForm, and RequestValidationError for a missing file or a field that occurs twice.
    """
    check_media_type(request, "multipart/form-data")
    repeated = set(lists)
    most = MAX_FIELDS + (MAX_LISTED if repeated else 0)
    try:
        async with request.form(max_files=MAX_FIELDS, max_fields=most, max_part_size=MAX_FIELD_BYTES) as parts:
            return await _checked(parts.multi_items(), repeated)
    except HTTPException as error:
        raise BrokenForm(
            "the form cannot be read",
            where="body",
            found=str(error.detail)[:MAX_NAME_CHARACTERS],
            expected=f"multipart/form-data with one {FILE_FIELD!r} part",
            next="curl -F file=@call.wav",
        ) from error


async def _checked(parts: Iterable[tuple[str, Any]], lists: set[str]) -> Form:
    fields: dict[str, list[str]] = {}
    uploads: list[UploadFile] = []
    for name, value in parts:
        if isinstance(value, UploadFile) and name == FILE_FIELD:
            uploads.append(value)
        elif isinstance(value, UploadFile):
            refuse("extra_forbidden", name, "a file")
        else:
            fields.setdefault(name, []).append(value)
    if len(uploads) != 1:
        if FILE_FIELD in fields:
            refuse("value_error", FILE_FIELD, fields[FILE_FIELD][0], "a file part, with a file name")
        refuse("value_error" if uploads else "missing", FILE_FIELD, None, "one file")
    for name, values in fields.items():
        if len(values) > 1 and name not in lists:
            refuse("value_error", name, values, "one value")
    return Form(await uploads[0].read(), fields)


def check_fields(form: Form, names: Collection[str]) -> None:
    """Raises RequestValidationError that names every field which is not declared."""
    unknown = [name for name in form.fields if name not in names]
    if unknown:
        raise RequestValidationError([_problem("extra_forbidden", name, None) for name in unknown])


def refuse(kind: str, field: str, found: Any, message: str = "") -> NoReturn:
    """Raises the error that FastAPI itself would for this field: `missing`, `extra_forbidden`, `value_error`."""
    raise RequestValidationError([_problem(kind, field, found, message)])


def _problem(kind: str, field: str, found: Any, message: str = "") -> dict[str, Any]:
    return {"type": kind, "loc": ("body", field), "msg": message, "input": found}


def described(
    schema: dict[str, Any], file_field: str | None = None, file: str = FILE_SCHEMA["description"]
) -> dict[str, Any]:
    """The request body for the OpenAPI page: that schema with a binary `file` beside or in place of `file_field`."""
    others = {name: _written(each) for name, each in schema.get("properties", {}).items() if name != file_field}
    required = [name for name in schema.get("required", []) if name in others]
    shown = {
        "type": "object",
        "additionalProperties": False,
        "properties": {FILE_FIELD: {**FILE_SCHEMA, "description": file}, **others},
        "required": [FILE_FIELD, *required],
    }
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": shown}}}}


def _written(field: dict[str, Any]) -> dict[str, Any]:
    """A field's schema as a form has it: what is not given is left out, there is no null."""
    kinds = [kind for kind in field.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) != 1:
        return field
    return {name: each for name, each in {**field, **kinds[0]}.items() if name not in ("anyOf", "default")}

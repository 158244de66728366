"""JSON bodies, read strictly: what two readers could understand differently is refused."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from hotline.errors import HotlineError, InputError

MAX_NAME_CHARACTERS = 60
"""Of a caller's own words in an error."""


class WrongMediaType(InputError):
    http_status, code = 415, "unsupported_media_type"


class BrokenJson(InputError):
    http_status, code = 400, "broken_json"


class Raised(HTTPException):
    """Carries a HotlineError through FastAPI's own body parsing, which lets only HTTPException pass."""

    def __init__(self, error: HotlineError) -> None:
        super().__init__(error.http_status)
        self.error = error


class StrictRequest(Request):
    """A request whose JSON is read strictly: UTF-8, finite numbers, no key twice, bounded depth."""

    async def json(self) -> Any:
        try:
            return read_json(await self.body())
        except BrokenJson as error:
            raise Raised(error) from error


def read_json(content: bytes) -> Any:
    """The value. Raises BrokenJson."""
    try:
        value = json.loads(
            content.decode("utf-8"), parse_constant=_not_a_number, parse_float=_finite, object_pairs_hook=_no_key_twice
        )
        if b"\\u" in content:
            json.dumps(value, ensure_ascii=False).encode("utf-8")  # half a surrogate pair is no character
        return value
    except RecursionError as error:
        raise _broken("nested too deeply") from error
    except UnicodeEncodeError as error:
        raise _broken("half a surrogate pair") from error
    except UnicodeDecodeError as error:
        raise _broken(f"byte {error.start} is not UTF-8") from error
    except json.JSONDecodeError as error:
        raise _broken(f"{error.msg} at line {error.lineno}, column {error.colno}") from error
    except ValueError as error:
        raise _broken(str(error)[:MAX_NAME_CHARACTERS]) from error


def _broken(found: str) -> BrokenJson:
    return BrokenJson("the body is not valid JSON", where="body", found=found, expected="one JSON object in UTF-8")


def _not_a_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number is too large")
    return value


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice in one object")
    return found


def check_media_type(request: Request, expected: str = "application/json") -> None:
    """Raises WrongMediaType unless the body is announced as that."""
    found = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if found != expected:
        raise WrongMediaType(
            f"the body must be {'JSON' if expected == 'application/json' else 'a form with a file'}",
            where="header Content-Type",
            found=found[:MAX_NAME_CHARACTERS] or "none",
            expected=expected,
            next=f"send the header Content-Type: {expected}",
        )


class StrictRoute(APIRoute):
    """A route that takes JSON and nothing else, read strictly."""

    def get_route_handler(self) -> Any:
        handler = super().get_route_handler()

        async def strict(request: Request) -> Response:
            check_media_type(request)
            return await handler(StrictRequest(request.scope, request.receive))

        return strict

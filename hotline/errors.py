"""Every error a user can meet. A message says what, where, found against expected, and the next command.

HotlineError
├── InputError              a file, a row or a request is not what the task declares
│   ├── TooLarge            a body, a text or a table over the site's limit
│   ├── NoAnswer            what a version wrote to this input is nothing that its task allows
│   └── UnknownName         a task, recipe, corpus, snapshot or version nobody declared
├── ContractError           rows break the corpus contract; nothing was stored
├── RecipeError             a recipe has unknown keys or impossible values; all of them are listed
├── PolicyError             the site's policy forbids it, or the policy itself is unusable
├── RefusedError            the gate or the ledger says no: no verdict, failed, stale, wrong profile
├── AccessError             no access key, or one that is wrong, expired or revoked
│   ├── NotAllowed          the key is right, and not for this
│   └── TooManyCalls        more calls than the key's rate, or too many wrong keys
├── IntegrityError          bytes, records or signatures differ from what was signed
└── UnavailableError        a service, port or file system that is needed does not answer
"""

from __future__ import annotations

from typing import ClassVar


class HotlineError(Exception):
    """A mistake or a refusal that a person can act on; shown without a traceback.

    `exit_code` is the process's exit status, `http_status` the status of an HTTP answer.
    """

    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500
    code: ClassVar[str] = "error"

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        found: object = None,
        expected: object = None,
        next: str | None = None,
    ) -> None:
        super().__init__(what)
        self.what, self.where, self.next = what, where, next
        self.found = None if found is None else str(found)
        self.expected = None if expected is None else str(expected)

    def lines(self) -> list[tuple[str, str]]:
        """The parts after the headline, as (name, text), in reading order."""
        parts = (("where", self.where), ("found", self.found), ("expected", self.expected), ("next", self.next))
        return [(name, text) for name, text in parts if text]

    def __str__(self) -> str:
        return "\n".join([self.what, *(f"  {name + ':':<10}{text}" for name, text in self.lines())])

    def as_dict(self) -> dict[str, str]:
        """The same for machines: `--json` and HTTP error bodies."""
        return {"code": self.code, "message": self.what, **dict(self.lines())}


class InputError(HotlineError):
    exit_code, http_status, code = 2, 422, "invalid_input"


class TooLarge(InputError):
    http_status, code = 413, "too_large"


class NoAnswer(InputError):
    code = "no_answer"


class UnknownName(InputError):
    http_status, code = 404, "not_found"


class ContractError(HotlineError):
    exit_code, http_status, code = 3, 422, "contract_broken"


class RecipeError(HotlineError):
    exit_code, http_status, code = 2, 422, "invalid_recipe"


class PolicyError(HotlineError):
    exit_code, http_status, code = 4, 403, "forbidden_by_policy"


class RefusedError(HotlineError):
    exit_code, http_status, code = 5, 409, "refused"


class AccessError(HotlineError):
    exit_code, http_status, code = 4, 401, "unauthenticated"


class NotAllowed(AccessError):
    http_status, code = 403, "not_allowed"


class TooManyCalls(AccessError):
    """`retry_after` is in whole seconds."""

    exit_code, http_status, code = 7, 429, "too_many_calls"

    def __init__(self, what: str, *, retry_after: int, **parts: str | None) -> None:
        super().__init__(what, **parts)
        self.retry_after = retry_after


class IntegrityError(HotlineError):
    exit_code, http_status, code = 6, 503, "integrity"


class UnavailableError(HotlineError):
    exit_code, http_status, code = 7, 503, "unavailable"

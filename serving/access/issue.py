"""An operator makes and revokes access keys, each by an entry that the operator signs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import ValidationError

from hotline import keys as signing
from hotline import policy, tasks
from hotline.errors import InputError, RefusedError, UnknownName
from hotline.settings import Settings
from serving.access import keys
from serving.access.keys import Keys
from serving.access.records import Issued, Revoked
from serving.access.register import Register


def create(settings: Settings, name: str, days: int, key: str, wish: Mapping[str, Any]) -> tuple[Issued, str]:
    """A new key that holds for so many days, and what its holder sends; `wish` are further fields of `Issued`.

    Raises UnknownName for a task that is not declared, InputError for a wish that makes no sense, RefusedError when
    that signing key is no operator's.
    """
    for task in wish.get("tasks") or ():
        tasks.find(task)
    id, sent, hash = keys.make()
    expires, site = datetime.now(UTC) + timedelta(days), policy.load(settings.workspace).site
    try:
        made = Issued(site=site, id=id, name=name, hash=hash, expires=expires, **wish)
    except ValidationError as error:
        wrong = error.errors()[0]
        where = "--" + str(wrong["loc"][0] if wrong["loc"] else "").rstrip("s").replace("_", "-")
        raise InputError("no such key can be made", where=where, found=wrong["input"], expected=wrong["msg"]) from error
    Register.of(settings).append(lambda _: made, signing.load(settings.keys, key, role="operator"))
    return made, sent


def revoke(settings: Settings, id: str, reason: str, key: str) -> None:
    """Raises UnknownName for a key that is not there, RefusedError for one that was revoked."""

    def decide(known: Keys) -> Revoked:
        if id not in known.issued:
            raise UnknownName("there is no such access key", found=id[:60], next="hotline access list")
        if id in known.revoked:
            raise RefusedError("the access key was revoked before", found=known.revoked[id].time.isoformat())
        return Revoked(site=policy.load(settings.workspace).site, id=id, reason=reason)

    Register.of(settings).append(decide, signing.load(settings.keys, key, role="operator"))


def listed(settings: Settings) -> list[dict[str, Any]]:
    """Every key, oldest first, in words."""
    known = Register.of(settings).read()
    return [_shown(known, key) for key in known.issued.values()]


def _shown(known: Keys, key: Issued) -> dict[str, Any]:
    limits = {"a minute": key.per_minute, "a day": key.per_day, "at a time": key.concurrency}
    return {
        "id": key.id,
        "name": key.name,
        "state": (known.ended(key) or "holds")
        .removeprefix("the access key ")
        .removeprefix("was ")
        .removeprefix("has "),
        "created": key.time.isoformat(timespec="seconds"),
        "expires": key.expires.isoformat(timespec="seconds"),
        "roles": ", ".join(key.roles),
        "tasks": ", ".join(key.tasks) if key.tasks else "all",
        "priority": key.priority,
        "limits": ", ".join(f"{count} {per}" for per, count in limits.items() if count) or "none",
    }

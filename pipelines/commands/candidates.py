"""What `compare` compares: registered versions, and endpoints of other people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipelines.commands.models import resolve

if TYPE_CHECKING:
    from evaluation.endpoints import Endpoint
    from hotline.records import ModelAddress
    from hotline.settings import Settings
    from hotline.task import Task


def candidates(
    here: Settings, lines: Sequence[str], urls: Sequence[str], task: str | None
) -> tuple[Task, list[ModelAddress | Endpoint]]:
    """The first task that all versions answer, or the one that is named, and everything that is compared on it.

    `urls` are other hotline deployments. Raises InputError when they share no task, or there are fewer than two.
    """
    from evaluation import endpoints
    from hotline import tasks
    from hotline.errors import InputError

    found: list[ModelAddress | Endpoint] = []
    answered: list[list[Task]] = [[tasks.find(task)]] if task else []
    for line in lines:
        if line.startswith(endpoints.PREFIX):
            found.append(endpoints.load(here, line))
            continue
        its, address = resolve(here, line, task)
        answered.append(its)
        found.append(address)
    found += [endpoints.at(url) for url in urls]
    named = [[each.name for each in some] for some in answered]
    shared = [each for each in answered[0] if all(each.name in names for names in named)] if answered else []
    if len(found) < 2 or not shared:
        raise InputError(
            "compare takes two or more candidates of one task",
            found="; ".join(", ".join(names) for names in named) or f"{len(found)} endpoints",
            expected=None if answered else "--task, since endpoints do not say what they answer",
        )
    return shared[0], found

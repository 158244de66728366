"""Which engine serves which task, as the options of `hotline serve` declare it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from hotline.errors import InputError
from hotline.settings import Settings
from hotline.tasks import find
from serving.engines.engine import EngineName, TritonPlace, refuse_unfit

if TYPE_CHECKING:
    from serving.replica import Options


def options(
    settings: Settings,
    named: Sequence[str],
    address: str | None,
    repository: Path | None,
    backend: Literal["python", "onnxruntime"],
    copies: Sequence[str] = (),
    threads: int = 1,
    resident_mib: int | None = None,
) -> Options:
    """What replicas may use, and how many there are.

    Raises InputError for engines that do not exist or fit, for half a Triton server, and for no number of copies.
    """
    from serving.replica import Options

    using: dict[str, Any] = {"threads": threads, "copies": dict(map(_counted, copies))}
    using |= {"resident_bytes": resident_mib * 1024**2} if resident_mib else {}
    engines = dict(map(_parsed, named))
    if (address is None) != (repository is None):
        raise InputError(
            "a Triton server is named by its address and by its model repository",
            found="--triton alone" if repository is None else "--triton-repository alone",
            expected="--triton HOST:PORT --triton-repository FOLDER, or neither: then one is started here",
        )
    if address is None or repository is None:
        return Options(engines=engines, **using)
    packages = settings.triton / "packages"
    place = TritonPlace(
        address=address,
        repository=repository.resolve(),
        backend=backend,
        packages=packages if packages.is_dir() else None,
    )
    return Options(engines=engines, triton=place, **using)


def _counted(named: str) -> tuple[str, tuple[int, int]]:
    task, _, counts = named.partition("=")
    found = re.fullmatch(r"([1-9]\d{0,3})(?:-([1-9]\d{0,3}))?", counts)
    fewest, most = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
    if fewest > most:
        raise InputError(
            "this is no number of replicas", where="--replicas", found=named, expected=f"{task}=2, or {task}=1-4"
        )
    return find(task).name, (fewest, most)


def _parsed(named: str) -> tuple[str, EngineName]:
    task, _, name = named.partition("=")
    if name not in ENGINES:
        raise InputError(
            "no such engine", where="--engine", found=named, expected=" or ".join(f"{task}={e}" for e in ENGINES)
        )
    engine = cast(EngineName, name)
    refuse_unfit(find(task), engine)
    return task, engine


ENGINES: tuple[str, ...] = get_args(EngineName)

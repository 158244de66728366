"""Which engine serves which task, as the options of `hotline serve` declare it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast, get_args

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
) -> Options:
    """What replicas may use. Raises InputError for engines that do not exist or fit, and for half a Triton server."""
    from serving.replica import Options

    engines = dict(map(_parsed, named))
    if (address is None) != (repository is None):
        raise InputError(
            "a Triton server is named by its address and by its model repository",
            found="--triton alone" if repository is None else "--triton-repository alone",
            expected="--triton HOST:PORT --triton-repository FOLDER, or neither: then one is started here",
        )
    if address is None or repository is None:
        return Options(engines=engines)
    packages = settings.triton / "packages"
    place = TritonPlace(
        address=address,
        repository=repository.resolve(),
        backend=backend,
        packages=packages if packages.is_dir() else None,
    )
    return Options(engines=engines, triton=place)


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

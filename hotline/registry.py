"""The only module that speaks to the MLflow registry.

A version is a folder of raw files: safetensors, tokenizer, label tree, declaration; nothing pickled. Its digest is the
Merkle root over those files; registering the same bytes on the same line twice gives back the same version.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from hotline import digests
from hotline.errors import IntegrityError, UnavailableError, UnknownName
from hotline.records import ModelAddress
from hotline.settings import kept_environment

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

MODEL_PATH = "model"
"""Where a run keeps the files of its versions, each in a folder named after its digest: none can overwrite another."""
DIGEST_TAG = "hotline.digest"
TASK_TAG = "hotline.task"
TASK_SEPARATOR = ","
"""Between the names in the tag of a version that answers several tasks."""
FILES_FILE = "hotline-files.json"
REACH_SECONDS = 5.0


def connect(tracking_uri: str) -> MlflowClient:
    """A client of a server that answers. Raises UnavailableError at once rather than after MLflow's own retries."""
    if tracking_uri.startswith(("http://", "https://")):
        import httpx

        try:
            httpx.get(f"{tracking_uri.rstrip('/')}/health", timeout=REACH_SECONDS).raise_for_status()
        except httpx.HTTPError as error:
            raise UnavailableError(
                "the MLflow server does not answer",
                where=_shown(tracking_uri),
                found=error or type(error).__name__,
                next="start it, or unset MLFLOW_TRACKING_URI to use the workspace's own SQLite",
            ) from error
    import logging

    logging.getLogger("mlflow").setLevel(logging.WARNING)  # it reports every migration of a fresh store
    import mlflow
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient
    from sqlalchemy.exc import SQLAlchemyError

    # MLflow writes the address into the environment, where the settings of another workspace would then find it
    with kept_environment("MLFLOW_TRACKING_URI"):
        mlflow.set_tracking_uri(tracking_uri)
    try:
        client = MlflowClient(tracking_uri=tracking_uri)
        client.search_registered_models(max_results=1)
    except (MlflowException, SQLAlchemyError, OSError) as error:
        raise UnavailableError(
            "the MLflow store cannot be opened", where=_shown(tracking_uri), found=error, next="hotline doctor"
        ) from error
    return client


def _shown(uri: str) -> str:
    """The address without user and password."""
    return re.sub(r"//[^/@]*@", "//***@", uri)


def register(client: MlflowClient, line: str, run_id: str, folder: Path, tags: Mapping[str, str]) -> ModelAddress:
    """Upload `folder` to the run and register it as the line's next version; idempotent by digest.

    Raises UnavailableError when the store does not take it.
    """
    from mlflow.exceptions import MlflowException

    if known := registered(client, line, folder):
        return known
    digest = digests.merkle_root(files := digests.of_files(folder))
    try:
        client.create_registered_model(line)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise UnavailableError("MLflow refused the line", where=line, found=error, next="hotline doctor") from error
    place = f"{MODEL_PATH}/{digest}"
    client.log_artifacts(run_id, str(folder), place)
    source = f"{client.get_run(run_id).info.artifact_uri}/{place}"
    version = client.create_model_version(line, source, run_id, tags={**tags, DIGEST_TAG: digest})
    return ModelAddress(line=line, version=str(version.version), digest=digest, files=files, run_id=run_id)


def registered(client: MlflowClient, line: str, folder: Path) -> ModelAddress | None:
    """The version of the line with the very files of `folder`, the oldest of several; None when there is none."""
    digest = digests.merkle_root(files := digests.of_files(folder))
    known = client.search_model_versions(f"name = '{line}' and tags.`{DIGEST_TAG}` = '{digest}'")
    oldest = min(known, key=lambda version: int(version.version), default=None)
    if oldest is None:
        return None
    return ModelAddress(line=line, version=str(oldest.version), digest=digest, files=files, run_id=str(oldest.run_id))


def fetch(client: MlflowClient, address: ModelAddress, cache: Path) -> Path:
    """A private copy of the version's files under `cache`, every byte of which was checked after it was copied.

    Raises IntegrityError naming the file that differs, UnknownName when the registry has no such version.
    """
    place = cache / address.digest
    if place.is_dir():
        check(place, address)
        return place
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        copy = _download(client, address.line, address.version, Path(scratch))
        check(copy, address)
        for path in copy.rglob("*"):
            if path.is_file():
                path.chmod(0o444)
        try:
            copy.rename(place)
        except OSError:  # another process was faster with the same bytes
            check(place, address)
    return place


def _download(client: MlflowClient, line: str, version: str, scratch: Path) -> Path:
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    try:
        source = client.get_model_version(line, version).source
        found = Path(download_artifacts(artifact_uri=source, tracking_uri=client.tracking_uri))
    except (MlflowException, OSError) as error:
        raise UnknownName(
            "the registry has no such version, or its files are gone",
            where=f"{line}@{version}",
            found=error,
            next="hotline versions",
        ) from error
    copy = scratch / "copy"  # a local store hands out the original; ours must be private
    shutil.copytree(found, copy)
    return copy


def recheck(client: MlflowClient, address: ModelAddress) -> None:
    """Download the version anew and compare every byte, whatever copies there are. Raises as `fetch` does."""
    with tempfile.TemporaryDirectory() as scratch:
        fetch(client, address, Path(scratch))


def check(folder: Path, address: ModelAddress) -> None:
    """Compare every byte with the record. Raises IntegrityError naming what was added, removed or changed."""
    found = digests.of_files(folder)
    if found == address.files and digests.merkle_root(found) == address.digest:
        return
    changed = sorted(path for path in found.keys() | address.files.keys() if found.get(path) != address.files.get(path))
    raise IntegrityError(
        f"{address.line}@{address.version}: the model's bytes are not those that were judged",
        where=", ".join(changed) or "the record's own digest",
        found=digests.merkle_root(found),
        expected=address.digest,
        next=f"hotline train the recipe of {address.line} again; the version is not served",
    )


def find(client: MlflowClient, line: str, version: str) -> tuple[str, dict[str, str]]:
    """The run id and the tags of a registered version. Raises UnknownName."""
    from mlflow.exceptions import MlflowException

    try:
        found = client.get_model_version(line, version)
    except MlflowException as error:
        raise UnknownName(
            f"no version {line}@{version} in the registry", found=error, next="hotline versions"
        ) from error
    return str(found.run_id), dict(found.tags)


def versions(client: MlflowClient, line: str | None = None) -> list[dict[str, str]]:
    """Registered versions, newest first: line, version, digest, task, run_id."""
    found = client.search_model_versions(f"name = '{line}'" if line else "", order_by=["creation_timestamp DESC"])
    return [
        {
            "line": str(version.name),
            "version": str(version.version),
            "digest": str(version.tags.get(DIGEST_TAG, "")),
            "task": str(version.tags.get(TASK_TAG, "")),
            "run_id": str(version.run_id),
        }
        for version in found
    ]


def address(client: MlflowClient, line: str, version: str) -> tuple[list[str], ModelAddress]:
    """The tasks and the address of a registered version, its files hashed anew.

    Raises UnknownName without such a version, IntegrityError when its files no longer have the registered digest.
    """
    run_id, tags = find(client, line, version)
    digest = tags.get(DIGEST_TAG, "")
    with tempfile.TemporaryDirectory() as scratch:
        files = digests.of_files(_download(client, line, version, Path(scratch)))
    if digests.merkle_root(files) != digest:
        raise IntegrityError(
            f"{line}@{version}: the files are not those that were registered",
            found=digests.merkle_root(files),
            expected=digest or "a version registered by hotline train",
            next=f"hotline train {line}",
        )
    named = tags.get(TASK_TAG, "").split(TASK_SEPARATOR)
    return named, ModelAddress(line=line, version=version, digest=digest, files=files, run_id=run_id)


def mirror_champion(client: MlflowClient, task: str, site: str, address: ModelAddress) -> None:
    """Point the alias at the champion, for people who look at MLflow; nothing decides by it.

    The alias goes from every other line, so that one task never shows two. Raises UnavailableError when MLflow refuses.
    """
    from mlflow.exceptions import MlflowException

    alias = champion_alias(task, site)
    try:
        for line in mirrored_champions(client, task, site).keys() - {address.line}:
            client.delete_registered_model_alias(line, alias)
        client.set_registered_model_alias(address.line, alias, address.version)
    except MlflowException as error:
        raise UnavailableError(
            "MLflow did not take the champion's alias", where=alias, found=error, next="hotline verify --repair"
        ) from error


def mirrored_champions(client: MlflowClient, task: str, site: str) -> dict[str, str]:
    """Every line that carries the champion's alias, with the version it points at; one, unless moved by hand."""
    alias = champion_alias(task, site)
    found: dict[str, str] = {}
    page: str | None = None
    while True:
        models = client.search_registered_models(max_results=100, page_token=page)
        found |= {str(model.name): str(model.aliases[alias]) for model in models if alias in model.aliases}
        page = models.token
        if not page:
            return found


def champion_alias(task: str, site: str) -> str:
    """The alias of the champion; MLflow takes letters, digits, dashes and underscores, and a site may have any name."""
    return re.sub(r"[^\w-]", "-", f"champion-{task}-{site}").lower()

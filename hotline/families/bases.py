"""Pretrained checkpoints that models start from: found in a folder, or on a hub by id and revision."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from hotline import digests
from hotline.errors import InputError, IntegrityError, UnavailableError


class BaseOptions(Protocol):
    """The options that name a checkpoint."""

    @property
    def base(self) -> str: ...

    @property
    def revision(self) -> str | None: ...


def find_base(options: BaseOptions) -> Path:
    """The folder with the base model's files, downloaded when it is a hub id.

    Raises InputError for a hub id without revision or a folder without a model, UnavailableError without a hub.
    """
    folder = Path(options.base)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise InputError("the base folder holds no model", where=str(folder), expected="config.json and weights")
        return folder
    if options.revision is None:
        raise InputError(
            "the base is neither a folder nor a hub id with a revision",
            where="model.base",
            found=options.base,
            next="name a folder that exists, or add model.revision (a commit)",
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(options.base, revision=options.revision))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise UnavailableError(
            "the base model cannot be downloaded",
            where=f"{options.base}@{options.revision}",
            found=type(error).__name__,
            next="copy the model into a folder and name it in model.base",
        ) from error


def base_digest(options: BaseOptions) -> str:
    """The Merkle root over the base model's files."""
    return digests.merkle_root(digests.of_files(find_base(options)))


def require(options: BaseOptions, digest: str) -> None:
    """Raises IntegrityError when the base's files are not those of that digest."""
    found = base_digest(options)
    if found != digest:
        raise IntegrityError(
            "the base is not the one that the adapter was trained on",
            where=options.base,
            found=found,
            expected=digest,
            next="put those files back, or train the recipe again",
        )

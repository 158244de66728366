"""What a replica is made of: a warrant that it verified by itself, and bytes that nobody else has."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from hotline import digests, families, policy, registry
from hotline.errors import IntegrityError
from hotline.records import LINEAGE_FILE, Lineage, ModelAddress
from hotline.settings import Settings
from hotline.task import Task
from serving import warrant
from serving.warrant import Warrant


def verify(settings: Settings, task: Task, entry: int) -> Warrant:
    """The warrant of ledger entry `entry`, from a chain that this process verified itself. Raises RefusedError,
    IntegrityError."""
    chain = warrant.ledger(settings).read()
    return warrant.examine(chain, policy.load(settings.workspace), task.name, chain.by_seq(entry))


def private_copy(settings: Settings, address: ModelAddress) -> tempfile.TemporaryDirectory[str]:
    """A copy of the version's files that nobody else has, every byte checked after it was copied.

    It is removed when the model is loaded: what is mapped into memory stays, and cannot be edited any more.
    Raises IntegrityError.
    """
    place = settings.state / "replicas"
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    scratch: tempfile.TemporaryDirectory[str] = tempfile.TemporaryDirectory(dir=place)
    try:
        shutil.copytree(settings.verified / address.digest, scratch.name, dirs_exist_ok=True)
        registry.check(Path(scratch.name), address)
    except OSError as error:
        scratch.cleanup()
        raise IntegrityError("the verified files cannot be copied", where=address.digest, found=error) from error
    except IntegrityError:
        scratch.cleanup()
        raise
    return scratch


def check_declaration(folder: Path, task: Task) -> None:
    """Raises IntegrityError when the version was made for another declaration of the task."""
    lineage = Lineage.model_validate(json.loads((folder / LINEAGE_FILE).read_text(encoding="utf-8")))
    expected = digests.of_value(families.by(task, lineage.family).declaration())
    if lineage.declarations.get(task.name) != expected:
        raise IntegrityError(
            f"this version was made for another declaration of {task.name}",
            where=LINEAGE_FILE,
            found=", ".join(f"{name} {digest[:12]}" for name, digest in lineage.declarations.items()),
            expected=f"{task.name} {expected[:12]}",
            next="hotline train its recipe again, then judge and promote it",
        )

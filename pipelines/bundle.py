"""A folder from which the endpoints come up on a machine without any network: `hotline bundle`, then `./start.sh`.

bundle.json, SHA256SUMS   the digest of every file; the first also the root over them, signed by an operator
policy/, .hotline/        the site's rules and public keys, its ledger, the champions' verified bytes; no private key
wheels/  requirements.txt Python packages, unless they were left out
start.sh                  checks SHA256SUMS, installs the wheels, checks the signature, serves
"""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from hotline import digests, keys, policy, registry
from hotline.errors import HotlineError, InputError, IntegrityError, RefusedError
from hotline.ledger import Chain, Ledger
from hotline.settings import CODE_ROOT, Settings
from hotline.tasks import find
from serving import warrant

MANIFEST, SUMS, START, WHEELS, REQUIREMENTS = "bundle.json", "SHA256SUMS", "start.sh", "wheels", "requirements.txt"
UNSIGNED = (MANIFEST, SUMS)
GUARDED = ("policy", ".hotline/verified", WHEELS)
"""Folders that hold what was packed and nothing else."""
PROJECT = "hotline"
START_SCRIPT = Path(__file__).with_name("bundle_start.sh")


def make(settings: Settings, folder: Path, *, wheels: bool = True) -> dict[str, Any]:
    """Pack every champion that may be served; gives back the manifest.

    Raises InputError for a folder that is not empty, RefusedError when nothing may be served, PolicyError without an
    operator's key, IntegrityError for bytes that differ.
    """
    if folder.exists() and any(folder.iterdir()):
        raise InputError("the folder is not empty", where=str(folder), next="name a new one")
    key, ledger = keys.load(settings.keys, "operator"), Ledger.of(settings)
    ledger.check_signer(key.public, "promotion")
    chain = ledger.read()
    packed = _models(settings, chain, folder)
    shutil.copytree(settings.workspace / "policy", folder / "policy")
    Ledger(f"sqlite:///{folder / '.hotline' / 'ledger.db'}", ledger.site, ledger.signers).adopt(chain)
    if wheels:
        _wheels(folder)
    script = folder / START
    python = "python" + ".".join(platform.python_version_tuple()[:2])
    script.write_text(START_SCRIPT.read_text(encoding="utf-8").replace("@PYTHON@", python), encoding="utf-8")
    script.chmod(0o755)
    return _sign(folder, key, {"site": ledger.site, "ledger": chain.head, "serves": packed})


def check(folder: Path, key: str | None = None) -> dict[str, Any]:
    """The manifest of a bundle in which nothing was changed.

    With `key`, the signer's public key must be that one. Raises IntegrityError that names what differs.
    """
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        files, signed, signer, signature = (manifest[name] for name in ("files", "root", "signer", "signature"))
    except (OSError, ValueError, KeyError) as error:
        raise _broken(
            "this is no bundle", folder / MANIFEST, error, "bundle.json as hotline bundle wrote it"
        ) from error
    for name, digest in files.items():
        path = folder / name
        found = digests.of_file(path) if path.is_file() else "no file"
        if found != digest:
            raise _broken(f"{name} is not the file that was packed", path, found, digest)
    added = [name for name in _names(folder) if name not in files and name.startswith(GUARDED)]
    if added:
        raise _broken("a file was added to the bundle", folder / added[0], "a file", "none")
    told = {name: value for name, value in manifest.items() if name != "signature"}
    if digests.merkle_root(files) != signed or not keys.valid(signer, digests.of_value(told), signature):
        raise _broken(
            "bundle.json was edited: its signature does not fit", folder / MANIFEST, signed, "the signed root"
        )
    listed = policy.load_signers(folder).with_key(signer)
    if listed is None or "operator" not in listed.roles or (key is not None and key != signer):
        raise _broken("the bundle was signed by somebody else", folder / MANIFEST, signer, key or "an operator's key")
    return manifest


def _models(settings: Settings, chain: Chain, folder: Path) -> dict[str, str]:
    """The verified bytes of every champion that has a warrant; task → line@version."""
    site, client, packed = policy.load(settings.workspace), None, {}
    for task, champion in chain.champions().items():
        model = warrant.examine(chain, site, find(task).name, champion.entry).model
        place = folder / ".hotline" / "verified" / model.digest
        if not place.is_dir():
            client = client or registry.connect(settings.tracking_uri)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(registry.fetch(client, model, settings.verified), place)
        packed[task] = f"{model.line}@{model.version}"
    if not packed:
        raise RefusedError("no task has a champion: there is nothing to pack", next="hotline judge, hotline promote")
    return packed


def _wheels(folder: Path) -> None:
    """This project and all it needs at run time, as installed here, for machines like this one."""
    graphs = any((folder / ".hotline" / "verified").rglob("*.onnx"))
    needed = _needed(*(["onnxruntime"] if graphs else []))
    pinned = sorted(f"{name}=={version}" for name, version in needed.items())
    (folder / REQUIREMENTS).write_text("\n".join([PROJECT, *pinned]) + "\n", encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    wheels = ["--no-deps", "--wheel-dir", str(folder / WHEELS)]
    _run([*pip, "wheel", *wheels, *pinned])
    if not (CODE_ROOT / "pyproject.toml").is_file():
        raise InputError("the project's own sources are not here", where=str(CODE_ROOT), next="use a checkout")
    _run([*pip, "wheel", *wheels, str(CODE_ROOT)])


def _needed(*more: str) -> dict[str, str]:
    """Every distribution that the project needs at run time, and `more`, with the version that is installed."""
    found: dict[str, str] = {}
    waiting = [Requirement(text) for text in [*(metadata.requires(PROJECT) or ()), *more]]
    while waiting:
        requirement = waiting.pop()
        extras = requirement.extras or {""}
        wanted = any(requirement.marker.evaluate({"extra": ""}) for _ in extras) if requirement.marker else True
        name = requirement.name.lower().replace("_", "-")
        if not wanted or name in found or name == PROJECT:
            continue
        found[name] = metadata.version(name)
        for text in metadata.requires(name) or ():
            inner = Requirement(text)
            if inner.marker is None or any(inner.marker.evaluate({"extra": extra}) for extra in {"", *extras}):
                inner.marker = None
                waiting.append(inner)
    return found


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise HotlineError(
            "the Python packages could not be gathered",
            found=done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit {done.returncode}",
            next="hotline bundle FOLDER --no-wheels, on a machine where this project is installed",
        )


def _sign(folder: Path, key: keys.SigningKey, about: dict[str, Any]) -> dict[str, Any]:
    files = {name: digests.of_file(folder / name) for name in _names(folder)}
    made = datetime.now(UTC).isoformat(timespec="seconds")
    manifest = {"schema_version": 1, "made": made, **about, "signer": key.public}
    manifest |= {"root": digests.merkle_root(files), "files": files}
    manifest["signature"] = key.sign(digests.of_value(manifest))
    (folder / MANIFEST).write_text(json.dumps(manifest, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    sums = "".join(f"{digest}  {name}\n" for name, digest in files.items())
    (folder / SUMS).write_text(sums, encoding="utf-8")
    return manifest


def _names(folder: Path) -> list[str]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return sorted(name for path in paths if (name := path.relative_to(folder).as_posix()) not in UNSIGNED)


def _broken(what: str, where: Path, found: object, expected: str) -> IntegrityError:
    return IntegrityError(
        what, where=str(where), found=found, expected=expected, next="get the bundle anew; nothing is served from it"
    )

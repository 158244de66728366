"""A new workspace: policy, keys, pipeline, recipes, and DVC's own state."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from hotline import keys, settings
from hotline.errors import HotlineError, InputError
from hotline.settings import CODE_ROOT, POLICY_FILE, Settings
from hotline.task import Profile

SHIPPED = ("dvc.yaml", "training/recipes", "training/deepspeed", "data/mappings", "evaluation/forest.json")
"""What a workspace starts with, copied from the code's own root."""
IGNORED = "/.hotline/\n/data/corpora/*/\n/data/incoming/\n/data/quarantine/\n/data/reports/\n/evaluation/comparisons/\n"


def create(folder: Path, site: str, profile: Profile, *, demo_keys: bool = False) -> Settings:
    """A workspace at `folder`; nothing that exists is overwritten. Raises InputError when it is one already.

    `demo_keys` makes throw-away signing keys and lists them in signers.yaml, labelled demo.
    """
    if (folder / POLICY_FILE).exists():
        raise InputError("this is a workspace already", where=str(folder), next=f"hotline --workspace {folder} doctor")
    (folder / "policy").mkdir(parents=True, exist_ok=True)
    _write(folder / POLICY_FILE, {"schema_version": 1, "site": site, "profile": profile})
    _write(folder / "policy" / "signers.yaml", {"schema_version": 1, "signers": []})
    (folder / ".gitignore").write_text(IGNORED, encoding="utf-8")
    (folder / "champions.lock").write_text("{}\n", encoding="utf-8")
    for name in SHIPPED:
        _copy(CODE_ROOT / name, folder / name)
    _point_at_code(folder / "dvc.yaml", folder)
    dvc(folder, "init", "--no-scm", "--quiet")
    dvc(folder, "config", "core.analytics", "false")
    made = settings.load(folder)
    if demo_keys:
        signers = [
            {"name": f"demo {role}", "public_key": keys.create(made.keys, role).public, "roles": [role]}
            for role in ("gate", "operator")
        ]
        _write(folder / "policy" / "signers.yaml", {"schema_version": 1, "signers": signers})
    return made


def dvc(folder: Path, *arguments: str, show: bool = False) -> None:
    """Run DVC in `folder`. What it says on stderr becomes part of the error, or with `show` appears as it comes."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    environment |= {"HOTLINE_WORKSPACE": str(folder), "DVC_NO_ANALYTICS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=None if show else subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        raise HotlineError(
            f"dvc {' '.join(arguments)} failed",
            where=str(folder),
            found=f"exit {done.returncode}" + (f": {done.stderr.strip()[-2000:]}" if done.stderr else ""),
            next=f"cd {folder} && dvc {' '.join(arguments)} --verbose",
        )


def _write(path: Path, content: object) -> None:
    path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")


def _copy(source: Path, target: Path) -> None:
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)


def _point_at_code(pipeline: Path, folder: Path) -> None:
    """The stages depend on the code, which lies outside of this workspace."""
    text = pipeline.read_text(encoding="utf-8")
    root = os.path.relpath(CODE_ROOT, folder.resolve())
    pipeline.write_text(text.replace("- code: .", f"- code: {root}"), encoding="utf-8")

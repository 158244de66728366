"""A throw-away site for benches of serving: keys, a policy, and versions that its ledger says have passed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from hotline import digests, families, keys, policy, settings
from hotline.ledger import Ledger
from hotline.records import LINEAGE_FILE, Evidence, Lineage, ModelAddress, Promotion, Verdict
from hotline.settings import Settings
from hotline.task import Task

NOW = "2026-01-01T00:00:00+00:00"
NONE = "0" * 64
"""Of evidence: nothing was judged, a bench measures speed alone."""


def make(folder: Path) -> Settings:
    """An empty site in that folder."""
    (folder / "policy").mkdir(parents=True)
    site = {"schema_version": 1, "site": "bench", "profile": "demo"}
    (folder / "policy" / "site.yaml").write_text(yaml.safe_dump(site))
    here = settings.load(folder)
    roles = ("gate", "operator")
    signers = [{"name": role, "public_key": keys.create(here.keys, role).public, "roles": [role]} for role in roles]
    (folder / "policy" / "signers.yaml").write_text(yaml.safe_dump({"schema_version": 1, "signers": signers}))
    return here


def promote(
    here: Settings, model: Any, line: str, *tasks: Task, add: Callable[[Path], None] | None = None
) -> ModelAddress:
    """Have the model answer those tasks of its family there; `add` puts further files into the version's folder."""
    folder = here.state / f"made-{line}"
    folder.mkdir(parents=True)
    families.find(tasks[0].family).save(model, folder)
    if add:
        add(folder)
    declared = {task.name: digests.of_value(task.declaration()) for task in tasks}
    lineage = Lineage(declarations=declared, snapshot=NONE, recipe=NONE, code=NONE, base=None)
    (folder / LINEAGE_FILE).write_text(lineage.model_dump_json())
    files = digests.of_files(folder)
    address = ModelAddress(line=line, version="1", digest=digests.merkle_root(files), files=files, run_id="none")
    here.verified.mkdir(exist_ok=True)
    shutil.move(folder, here.verified / address.digest)
    for task in tasks:
        _record(here, address, lineage, task)
    return address


def _record(here: Settings, address: ModelAddress, lineage: Lineage, task: Task) -> None:
    site, signers = policy.load(here.workspace), policy.load_signers(here.workspace)
    ledger = Ledger(here.ledger_url, site.site, signers)
    common: dict[str, Any] = {"site": site.site, "task": task.name, "time": NOW, "model": address}
    evidence = Evidence(lineage=lineage, test_snapshot=NONE, test_rows=NONE, policy=NONE, answers=NONE)
    verdict = Verdict(
        **common,
        profile=site.profile,
        outcome="passed",
        findings=(),
        figures=(),
        evidence=evidence,
        previous_champion=None,
        libraries={},
    )
    entry = ledger.append(lambda _: verdict, keys.load(here.keys, "gate"))
    promotion = Promotion(**common, verdict=entry.hash, previous_champion=None, reason="bench")
    ledger.append(lambda _: promotion, keys.load(here.keys, "operator"))

"""A site whose ledger the tests write by hand, with tiny versions, and one live Ray Serve for the whole session."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from hotline import digests, keys, policy, settings
from hotline.families import classifier
from hotline.families.classifier_options import ClassifierOptions
from hotline.labels import LabelTree
from hotline.ledger import Entry, Ledger
from hotline.records import LINEAGE_FILE, Evidence, Lineage, ModelAddress, Promotion, Rollback, Verdict
from hotline.settings import Settings
from hotline.tasks import find
from serving.run import Running, start

TASK = find("ticket_category")
LABELS = ("城乡建设/市政/路灯", "城乡建设/市政/井盖", "交通/公交/晚点", "环保/噪音/施工")
NOW = "2026-01-01T00:00:00+00:00"
OTHER = "a" * 64


@dataclass
class Site:
    """A workspace with a gate's and an operator's key."""

    settings: Settings
    lineages: dict[str, Lineage] = field(default_factory=dict)

    @property
    def ledger(self) -> Ledger:
        here = self.settings
        return Ledger(here.ledger_url, policy.load(here.workspace).site, policy.load_signers(here.workspace))

    def version(self, number: int, declaration: str | None = None) -> ModelAddress:
        """A tiny version, its bytes where verified bytes lie."""
        texts = [TASK.input.model_validate({"text": f"{label}坏了{n}"}) for n in range(8) for label in LABELS]
        targets = [TASK.target.model_validate({"label": label}) for _ in range(8) for label in LABELS]
        options = ClassifierOptions.model_validate({"encoder": "ngrams", "width": 8 + number})
        model = classifier.create(options, TASK, LabelTree.of(LABELS), texts, targets)
        folder = self.settings.state / f"made-{number}"
        folder.mkdir(parents=True)
        classifier.save(model, folder)
        declared = declaration or digests.of_value(TASK.declaration())
        lineage = Lineage(declarations={TASK.name: declared}, snapshot=OTHER, recipe=OTHER, code=OTHER, base=None)
        (folder / LINEAGE_FILE).write_text(lineage.model_dump_json())
        files = digests.of_files(folder)
        digest = digests.merkle_root(files)
        self.settings.verified.mkdir(exist_ok=True)
        shutil.move(folder, self.settings.verified / digest)
        self.lineages[digest] = lineage
        return ModelAddress(line="tickets", version=str(number), digest=digest, files=files, run_id="none")

    def judge(self, model: ModelAddress, outcome: Any = "passed", profile: Any = "demo") -> Entry:
        evidence = Evidence(
            lineage=self.lineages[model.digest], test_snapshot=OTHER, test_rows=OTHER, policy=OTHER, answers=OTHER
        )
        verdict = Verdict(
            site="test",
            task=TASK.name,
            time=NOW,
            profile=profile,
            model=model,
            outcome=outcome,
            findings=(),
            figures=(),
            evidence=evidence,
            previous_champion=None,
            libraries={},
        )
        return self.ledger.append(lambda _: verdict, keys.load(self.settings.keys, "gate"))

    def promote(self, model: ModelAddress, verdict: str) -> Entry:
        record = Promotion(
            site="test", task=TASK.name, time=NOW, model=model, verdict=verdict, previous_champion=None, reason="test"
        )
        return self.ledger.append(lambda _: record, keys.load(self.settings.keys, "operator"))

    def champion(self, number: int) -> ModelAddress:
        """A new version, judged and promoted."""
        model = self.version(number)
        self.promote(model, self.judge(model).hash)
        return model

    def roll_back(self) -> Entry:
        current, previous = self.ledger.read().history(TASK.name)[:2]
        record = Rollback(
            site="test",
            task=TASK.name,
            time=NOW,
            model=previous.record.model,
            verdict=previous.record.verdict,
            previous_champion=current.record.model.digest,
            reason="test",
        )
        return self.ledger.append(lambda _: record, keys.load(self.settings.keys, "operator"))


def make_site(folder: Path, profile: str = "demo") -> Site:
    (folder / "policy").mkdir(parents=True)
    site = {"schema_version": 1, "site": "test", "profile": profile, "limits": {"body_bytes": 100_000}}
    (folder / "policy" / "site.yaml").write_text(yaml.safe_dump(site))
    here = settings.load(folder)
    signers = [
        {"name": role, "public_key": keys.create(here.keys, role).public, "roles": [role]}
        for role in ("gate", "operator")
    ]
    (folder / "policy" / "signers.yaml").write_text(yaml.safe_dump({"schema_version": 1, "signers": signers}))
    return Site(here)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A site of the test's own; nothing runs on it."""
    return make_site(tmp_path / "site")


@pytest.fixture
def site_of(tmp_path: Path) -> Callable[[str], Site]:
    return lambda profile: make_site(tmp_path / profile, profile)


@pytest.fixture(scope="session")
def live_site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The site behind `endpoint`. A test that promotes there leaves a working champion behind."""
    made = make_site(tmp_path_factory.mktemp("live") / "site")
    made.champion(1)
    return made


@pytest.fixture(scope="session")
def running(live_site: Site) -> Iterator[Running]:
    live = start(live_site.settings, _free_port())
    yield live
    live.stop()


@pytest.fixture(scope="session")
def endpoint(running: Running) -> str:
    """The address of live endpoints."""
    return running.url


@pytest.fixture
def http(endpoint: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=endpoint, timeout=90, trust_env=False) as client:
        yield client


@pytest.fixture
def free_port() -> int:
    return _free_port()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

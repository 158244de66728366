"""Fabricated rows and answers for the statistics, and a site with registered versions for what decides."""

from __future__ import annotations

import itertools
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from hotline import digests, keys, registry
from hotline import settings as places
from hotline.ledger import Entry, Ledger
from hotline.records import LINEAGE_FILE, Evidence, Finding, Lineage, ModelAddress, Outcome, Verdict
from hotline.settings import Settings
from hotline.task import Answer, Profile, Task
from hotline.tasks.tickets.ticket_category import TICKET_CATEGORY, Category, TicketText

LABELS = ("城建/路燈", "城建/道路", "環保/噪音", "環保/污水")


LINEAGE = Lineage(
    declarations={TICKET_CATEGORY.name: digests.of_value(TICKET_CATEGORY.declaration())},
    snapshot="0" * 64,
    recipe="0" * 64,
    code="0" * 64,
    base=None,
)


@dataclass
class Table:
    """The columns of `data.store.Rows` that measuring reads."""

    ids: list[str]
    inputs: list[TicketText]
    targets: list[Category]
    provenance: dict[str, list[str]]
    clusters: list[str]
    digest: str = "0" * 64

    def __len__(self) -> int:
        return len(self.ids)


def _table(count: int, callers: int | None = None, regions: Sequence[str] = ("天河", "越秀"), first: int = 0) -> Table:
    """`count` rows of as many callers (or fewer), labels and regions in turn."""
    numbers = range(first, first + count)
    each = [str(number % callers if callers else number) for number in numbers]
    return Table(
        ids=[f"row-{number}" for number in numbers],
        inputs=[TicketText(text=f"路燈壞了 {number}") for number in numbers],
        targets=[Category(label=LABELS[number % len(LABELS)]) for number in numbers],
        provenance={
            "call_id": [f"call-{number}" for number in numbers],
            "caller_id": [f"caller-{number}" for number in each],
            "region": [regions[number % len(regions)] for number in numbers],
            "channel": ["電話"] * count,
            "label_source": ["human"] * count,
            "label_batch": ["batch-1"] * count,
        },
        clusters=[f"cluster-{number}" for number in numbers],
    )


def _answers(rows: Table, wrong: Callable[[int], bool] = lambda number: False) -> list[Answer]:
    """Right answers, but for the rows (counted from 0) that `wrong` names."""
    other = dict(zip(LABELS, LABELS[1:] + LABELS[:1], strict=True))
    said = [other[t.label] if wrong(number) else t.label for number, t in enumerate(rows.targets)]
    return [Answer(target=Category(label=label), confidence=0.9) for label in said]


@pytest.fixture(scope="session")
def table() -> Callable[..., Table]:
    return _table


@pytest.fixture(scope="session")
def answers() -> Callable[..., list[Answer]]:
    return _answers


@pytest.fixture(scope="session")
def lineage() -> Lineage:
    """Of the versions that `Site.version` makes."""
    return LINEAGE


@pytest.fixture
def fresh(workspace_copy: Settings) -> Settings:
    """A copy in which nothing was judged yet, whatever other tests did before it was made."""
    for path in (workspace_copy.state / "ledger.db", workspace_copy.champions_lock, workspace_copy.ledger_head):
        path.unlink(missing_ok=True)
    shutil.rmtree(workspace_copy.verdicts, ignore_errors=True)
    return workspace_copy


def _variant(
    settings: Settings, address: ModelAddress, line: str, lineage: dict[str, Any] | None = None
) -> ModelAddress:
    """The same model as another version, with another lineage."""
    client = registry.connect(settings.tracking_uri)
    folder = settings.workspace / f"variant-{line}"
    registry.fetch(client, address, settings.verified)
    folder.mkdir()
    for name in address.files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((settings.verified / address.digest / name).read_bytes())
    made = Lineage.model_validate_json((folder / LINEAGE_FILE).read_text()).model_copy(update=lineage or {})
    (folder / LINEAGE_FILE).write_text(made.model_dump_json(indent=2))
    run = client.create_run(client.get_run(address.run_id).info.experiment_id)
    return registry.register(client, line, run.info.run_id, folder, {registry.TASK_TAG: TICKET_CATEGORY.name})


@pytest.fixture(scope="session")
def variant() -> Callable[..., ModelAddress]:
    return _variant


@pytest.fixture
def easy() -> Task:
    """The task with bars that any honest model of the small corpus passes."""
    bars = tuple(replace(bar, at_least=0.1) if bar.at_least else bar for bar in TICKET_CATEGORY.bars["demo"])
    return replace(TICKET_CATEGORY, bars={"demo": bars})


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One real MLflow store on SQLite; its tables take seconds to make."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@dataclass
class Site:
    """A site with its own policy, keys and ledger; the MLflow store is shared, its lines are not."""

    settings: Settings
    name: str
    numbers: Any = field(default_factory=lambda: itertools.count(1))

    @property
    def client(self) -> Any:
        return registry.connect(self.settings.tracking_uri)

    def ledger(self) -> Ledger:
        return Ledger.of(self.settings)

    def artifacts(self, address: ModelAddress) -> Path:
        """Where MLflow keeps the version's files."""
        source = self.client.get_model_version(address.line, address.version).source
        return Path(str(source).removeprefix("file://"))

    def version(self, line: str = "tickets", lineage: Lineage = LINEAGE) -> ModelAddress:
        """A registered version whose bytes are new."""
        number = next(self.numbers)
        folder = self.settings.workspace / f"made-{number}"
        (folder / "tokenizer").mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(f"{self.name} {number}".encode() * 50)
        (folder / "tokenizer" / "vocabulary.json").write_text("{}")
        (folder / LINEAGE_FILE).write_text(lineage.model_dump_json())
        name = f"{line}-{self.name}"
        experiment = self.client.get_experiment_by_name(self.name)
        place = (self.settings.workspace / "artifacts").as_uri()
        id = experiment.experiment_id if experiment else self.client.create_experiment(self.name, place)
        run = self.client.create_run(id)
        tags = {registry.TASK_TAG: registry.TASK_SEPARATOR.join(lineage.declarations)}
        return registry.register(self.client, name, run.info.run_id, folder, tags)

    def verdict(
        self,
        address: ModelAddress,
        outcome: Outcome = "passed",
        profile: Profile = "demo",
        previous: str | None = None,
        *,
        task: str = TICKET_CATEGORY.name,
        time: str = "2026-01-01T00:00:00+00:00",
        bars: str | None = None,
        lineage: Lineage = LINEAGE,
    ) -> Entry:
        """A verdict on that version, signed by the gate and in the ledger."""
        zero = "0" * 64
        verdict = Verdict(
            site=self.name,
            task=task,
            time=time,
            profile=profile,
            model=address,
            outcome=outcome,
            findings=(Finding(bar="accuracy at least 0.8", outcome=outcome, reason="0.5 [0.4, 0.6]"),),
            figures=(),
            evidence=Evidence(
                lineage=lineage, test_snapshot=zero, test_rows=zero, policy=zero, answers=zero, bars=bars
            ),
            previous_champion=previous,
            libraries={},
        )
        return self.ledger().append(lambda _: verdict, keys.load(self.settings.keys, "gate"))

    def profile(self, profile: Profile, **more: Any) -> None:
        """What a reviewed change of the policy file does."""
        content = {"schema_version": 1, "site": self.name, "profile": profile, **more}
        (self.settings.workspace / "policy" / "site.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")

    def person(self, name: str, *roles: str) -> str:
        """The name of a new key in the keys folder, listed in policy/signers.yaml."""
        path = self.settings.workspace / "policy" / "signers.yaml"
        signers = yaml.safe_load(path.read_text(encoding="utf-8"))
        key = keys.create(self.settings.keys, name).public
        signers["signers"].append({"name": name, "public_key": key, "roles": list(roles)})
        path.write_text(yaml.safe_dump(signers), encoding="utf-8")
        return name

    def run(self, statement: str, *values: object) -> None:
        """What somebody with access to the ledger's database does."""
        with sqlite3.connect(self.settings.workspace / "ledger.db") as store:
            assert store.execute(statement, values).rowcount >= 1
        store.close()


@pytest.fixture
def site(tmp_path: Path, store: str) -> Site:
    name = f"site-{digests.of_text(str(tmp_path))[:8]}"
    (tmp_path / "policy").mkdir()
    settings = Settings(
        workspace=tmp_path,
        tracking_uri=store,
        ledger_url=f"sqlite:///{tmp_path / 'ledger.db'}",
        keys=tmp_path / "keys",
    )
    public = {role: keys.create(settings.keys, role).public for role in ("gate", "operator")}
    signers = "".join(f"  - {{name: {role}, public_key: {key}, roles: [{role}]}}\n" for role, key in public.items())
    (tmp_path / "policy" / "signers.yaml").write_text(f"schema_version: 1\nsigners:\n{signers}", encoding="utf-8")
    made = Site(settings, name)
    made.profile("demo")
    assert places.find_workspace(tmp_path) == tmp_path
    return made

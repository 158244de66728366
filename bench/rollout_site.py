"""A throw-away site with versions of one tiny classifier, each of which may be promoted and rolled back."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import serving_site
import torch
from rollout_load import TEXTS

from hotline import digests, keys
from hotline.families import classifier
from hotline.families.classifier_options import ClassifierOptions
from hotline.labels import LabelTree
from hotline.ledger import Entry, Ledger
from hotline.records import LINEAGE_FILE, Evidence, Lineage, ModelAddress, Promotion, Rollback, Trial, Verdict
from hotline.settings import Settings
from hotline.tasks import find

TASK = find("ticket_category")
LABELS = ("城乡建设/市政/路灯", "城乡建设/市政/井盖", "交通/公交/晚点", "环保/噪音/施工")
STEPS = 60
VERSIONS = 4
WRONG = 5
"""A version that is wrong on Cantonese only."""


@dataclass
class Site:
    """The site, and the versions that were made for it."""

    settings: Settings
    versions: dict[int, ModelAddress] = field(default_factory=dict)
    verdicts: dict[int, Entry] = field(default_factory=dict)

    @property
    def ledger(self) -> Ledger:
        return Ledger.of(self.settings)

    def promote(self, number: int) -> Entry:
        """The version answers from now on."""
        model = self.versions[number]
        record = Promotion(
            **_of(model), verdict=self.verdicts[number].hash, previous_champion=self._champion(), reason="bench"
        )
        return self.ledger.append(lambda _: record, keys.load(self.settings.keys, "operator"))

    def tries(self, number: int, stage: Any, share: float = 0.0) -> Entry:
        """The version is tried beside the champion from now on, or withdrawn."""
        champion = self._champion()
        assert champion
        record = Trial(
            **_of(self.versions[number]),
            stage=stage,
            verdict=self.verdicts[number].hash,
            champion=champion,
            share=share,
            reason="bench",
        )
        return self.ledger.append(lambda _: record, keys.load(self.settings.keys, "operator"))

    def roll_back(self) -> Entry:
        """The champion before answers again."""
        current, before = self.ledger.read().history(TASK.name)[:2]
        record = Rollback(
            **_of(before.record.model),
            verdict=before.record.verdict,
            previous_champion=current.record.model.digest,
            reason="bench",
        )
        return self.ledger.append(lambda _: record, keys.load(self.settings.keys, "operator"))

    def _champion(self) -> str | None:
        champion = self.ledger.read().champion(TASK.name)
        return champion.record.model.digest if champion else None

    def add(self, number: int, model: classifier.Classifier) -> None:
        """A version with a passed verdict."""
        folder = self.settings.state / f"made-{number}"
        folder.mkdir(parents=True)
        classifier.save(model, folder)
        none = serving_site.NONE
        declared = {TASK.name: digests.of_value(TASK.declaration())}
        lineage = Lineage(declarations=declared, snapshot=none, recipe=none, code=none, base=None)
        (folder / LINEAGE_FILE).write_text(lineage.model_dump_json())
        files = digests.of_files(folder)
        digest = digests.merkle_root(files)
        model_address = ModelAddress(line="tickets", version=str(number), digest=digest, files=files, run_id="none")
        self.settings.verified.mkdir(exist_ok=True)
        shutil.move(folder, self.settings.verified / digest)
        self.versions[number] = model_address
        evidence = Evidence(lineage=lineage, test_snapshot=none, test_rows=none, policy=none, answers=none)
        verdict = Verdict(
            **_of(model_address),
            profile="demo",
            outcome="passed",
            findings=(),
            figures=(),
            evidence=evidence,
            previous_champion=None,
            libraries={},
        )
        self.verdicts[number] = self.ledger.append(lambda _: verdict, keys.load(self.settings.keys, "gate"))


def make(folder: Path) -> Site:
    """A site whose first version answers."""
    site = Site(serving_site.make(folder))
    for number in range(1, VERSIONS + 1):
        site.add(number, _model(number))
    site.add(WRONG, _model(WRONG, wrong="yue-hongkong"))
    site.promote(1)
    return site


def _of(model: ModelAddress) -> dict[str, Any]:
    return {"site": "bench", "task": TASK.name, "time": serving_site.NOW, "model": model}


def _model(seed: int, wrong: str | None = None) -> classifier.Classifier:
    """A classifier that has learnt the load's texts by heart; those of the dialect `wrong` with other labels."""
    torch.manual_seed(seed)
    asked = [(text, (n + (dialect == wrong)) % 4) for dialect, texts in TEXTS.items() for n, text in enumerate(texts)]
    inputs = [TASK.input.model_validate({"text": text}) for text, _ in asked]
    targets = [TASK.target.model_validate({"label": LABELS[label]}) for _, label in asked]
    options = ClassifierOptions.model_validate({"encoder": "ngrams", "width": 32, "minimum_texts": 1})
    model = classifier.create(options, TASK, LabelTree.of(LABELS), inputs, targets)
    batch = classifier.prepare(model, inputs, targets)
    optimiser = torch.optim.AdamW(classifier.parameter_groups(model, 5e-2, 0.0))
    for _ in range(STEPS):
        loss = classifier.loss(model.train(), batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.eval()

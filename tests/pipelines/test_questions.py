"""Questions and their entries, through the whole chain: import, train, judge; and an entry that comes later."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from data import questions
from data.ingest import import_table
from data.mapping import load as load_mapping
from data.store import open_snapshot
from evaluation.gate import judge
from hotline import families, registry
from hotline.errors import InputError
from hotline.records import LINEAGE_FILE, Lineage, ModelAddress
from hotline.settings import Settings
from hotline.tasks import find
from pipelines import workspace as workspaces
from training.entries import renew
from training.fit import train
from training.recipe import load

TASK = find("faq_match")
LATER = "户籍证件/身份证和户口怎么一起办理？"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A workspace with 1200 questions, and a recipe that learns from them for a moment."""
    here = workspaces.create(tmp_path_factory.mktemp("questions"), "demo", "demo", demo_keys=True)
    questions.write_xlsx(here.workspace / "questions.xlsx", 1200, 7)
    imported(here)
    path = here.recipes / "faq_match.yaml"
    content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    content["model"] |= {"width": 64, "dimensions": 32}
    path.write_text(yaml.safe_dump(content | {"trainer": {"max_epochs": 4, "batch_rows": 32}}), encoding="utf-8")
    return here


def imported(here: Settings) -> None:
    mapping = load_mapping(here.workspace / "data" / "mappings" / "questions.yaml")
    import_table(here, TASK, mapping, [here.workspace / "questions.xlsx"])


@pytest.fixture(scope="module")
def version(site: Settings) -> ModelAddress:
    address = train(site, load(site.recipes / "faq_match.yaml"))
    assert address is not None
    return address


def loaded(site: Settings, address: ModelAddress) -> tuple[Path, Any, Any]:
    folder = registry.fetch(registry.connect(site.tracking_uri), address, site.verified)
    return folder, *families.load(folder, TASK)


def test_it_earns_its_endpoint_on_wordings_that_training_never_had(site: Settings, version: ModelAddress) -> None:
    _, verdict = judge(site, TASK, version)
    figures = {figure.score: figure.estimate for figure in verdict.figures if figure.slice is None}
    assert set(figures) == set(TASK.scores)
    assert (figures["accuracy"] or 0) > 0.6 and (figures["refusal_f1"] or 0) > 0.6
    assert (figures["mrr"] or 0) > (figures["accuracy"] or 0) - 0.1
    assert {Path(name).suffix for name in version.files} == {".json", ".safetensors"}


def test_a_version_has_no_other_entries_until_the_tree_changes(site: Settings, version: ModelAddress) -> None:
    with pytest.raises(InputError, match="already"):
        renew(site, TASK, version)


def test_an_entry_of_later_answers_its_own_question_in_a_version_of_its_own(
    site: Settings, version: ModelAddress
) -> None:
    path = site.workspace / "data" / "mappings" / "questions_tree.yaml"
    topic, entry = LATER.split("/")
    tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    tree[topic].append(entry)
    path.write_text(yaml.safe_dump(tree, allow_unicode=True), encoding="utf-8")
    imported(site)
    assert LATER in open_snapshot(site, TASK).tree.leaves

    made, new, gone = renew(site, TASK, version)
    assert (new, gone) == (1, 0)
    assert (made.line, made.version) == ("faq_match", "2")
    folder, family, model = loaded(site, made)
    asked = TASK.input.model_validate({"question": LATER.replace("/", "\n")})
    [answer] = families.answer(family, model, [asked])
    assert answer.target.model_dump() == {"label": LATER}
    converted = Lineage.model_validate_json((folder / LINEAGE_FILE).read_text()).converted
    assert converted is not None and (converted.source, converted.to) == (version.digest, "entries")
    assert renew(site, TASK, version)[0].digest == made.digest
    assert judge(site, TASK, made)[1].model == made

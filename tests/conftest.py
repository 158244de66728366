"""One workspace, one trained version, one champion for the whole session: expensive things are made once.

Tests that change a workspace take `workspace_copy`, a copy of their own.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings as properties

from hotline import settings
from hotline.records import ModelAddress
from hotline.settings import Settings
from pipelines import workspace as workspaces
from tests.postgres import Postgres, programs, running

ROWS = 6000
SEED = 11
for _name in (
    "HOTLINE_WORKSPACE",
    "HOTLINE_LEDGER_URL",
    "HOTLINE_KEYS",
    "HOTLINE_PORT",
    "HOTLINE_API_KEY",
    "MLFLOW_TRACKING_URI",
):
    os.environ.pop(_name, None)  # a test never reads the environment of whoever runs it

properties.register_profile("untimed", deadline=None)  # machines are shared: no test is timed
properties.load_profile("untimed")

REAL_DATA = Path(__file__).resolve().parents[2] / "shared" / "real-data"


@pytest.fixture(autouse=True)
def _own_workspace() -> Iterator[None]:
    """A command that was run in this process leaves no workspace behind for the next test."""
    with settings.kept_environment("HOTLINE_WORKSPACE"):
        yield


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real input, which is not part of the repository."""
    if not REAL_DATA.is_dir():
        pytest.skip(f"real input is not here: {REAL_DATA}")
    return REAL_DATA


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server with an empty database."""
    where = programs()
    if where is None:
        pytest.skip("PostgreSQL is not here: install the package postgresql")
    with running(where) as server:
        yield server


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A demo workspace with a small imported corpus; do not change it."""
    from data import mapping, synthetic
    from data.ingest import import_table
    from hotline.tasks import find

    here = workspaces.create(tmp_path_factory.mktemp("site"), "demo", "demo", demo_keys=True)
    source = here.workspace / "data" / "incoming" / "tickets.xlsx"
    source.parent.mkdir(parents=True)
    synthetic.write_xlsx(source, ROWS, SEED)
    declared = mapping.load(here.workspace / "data" / "mappings" / "tickets.yaml")
    import_table(here, find("ticket_category"), declared, [source])
    return here


@pytest.fixture(scope="session")
def candidate(workspace: Settings) -> ModelAddress:
    """A version trained on the small corpus."""
    from training.fit import train
    from training.recipe import load

    address = train(workspace, load(workspace.recipes / "tickets.yaml"))
    assert address is not None
    return address


@pytest.fixture(scope="session")
def champion(workspace: Settings, candidate: ModelAddress) -> ModelAddress:
    """The candidate, judged and promoted."""
    from evaluation.gate import judge
    from evaluation.promote import promote
    from hotline.tasks import find

    task = find("ticket_category")
    judge(workspace, task, candidate)
    promote(workspace, task, candidate, "for the tests")
    return candidate


@pytest.fixture(scope="session")
def copied(workspace: Settings, candidate: ModelAddress) -> Callable[[Path], Settings]:
    """Copies the workspace, with the trained candidate, to a new folder."""

    def copy(folder: Path) -> Settings:
        shutil.copytree(workspace.workspace, folder)
        _move_registry(folder, workspace.workspace)
        shutil.rmtree(folder / ".hotline" / "verified", ignore_errors=True)  # nothing was fetched on this machine yet
        return settings.load(folder)

    return copy


@pytest.fixture
def workspace_copy(copied: Callable[[Path], Settings], tmp_path: Path) -> Settings:
    """A copy of the workspace with the trained candidate, free to be broken."""
    return copied(tmp_path / "copy")


def _move_registry(folder: Path, original: Path) -> None:
    """MLflow stores absolute artefact addresses; point the copy's at the copy."""
    with sqlite3.connect(folder / ".hotline" / "mlflow.db") as store:
        for table, column in (
            ("experiments", "artifact_location"),
            ("runs", "artifact_uri"),
            ("model_versions", "source"),
            ("model_versions", "storage_location"),
        ):
            store.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (str(original), str(folder)))


@pytest.fixture(scope="session")
def bert_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes a random BERT of the smallest size that knows these characters, saved as transformers saves one."""

    def make(characters: str, width: int = 32) -> Path:
        import torch
        from transformers import BertConfig, BertModel, BertTokenizerFast

        folder = tmp_path_factory.mktemp("bert")
        tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted(set(characters))]
        (folder / "vocab.txt").write_text("\n".join(tokens))
        tokenizer = BertTokenizerFast(vocab=str(folder / "vocab.txt"))
        torch.manual_seed(0)
        size = {"hidden_size": width, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 2 * width}
        BertModel(BertConfig(vocab_size=len(tokenizer), **size)).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return make

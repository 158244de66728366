"""A replica lets its model go and takes it back: nothing of it stays in memory, and it answers as before."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from hotline.errors import RefusedError
from hotline.records import ModelAddress
from hotline.task import Task
from hotline.tasks import find
from pipelines.cli import app
from serving.cascades import CascadeReplica
from serving.engines import threads
from serving.engines.choice import options
from serving.replica import Options, Replica
from serving.residence import Residence
from serving.writing import WriterReplica

if TYPE_CHECKING:
    from tests.serving.conftest import Site

TICKETS, TITLES = find("ticket_category"), find("ticket_summary")
TEXT = "您好，东街的路灯三天没人管。"


def classifier(site: Site) -> tuple[type[Replica], Task, ModelAddress]:
    return Replica, TICKETS, site.version(1)


def writer(site: Site) -> tuple[type[Replica], Task, ModelAddress]:
    return WriterReplica, TITLES, site.writer(1)


def cascade(site: Site) -> tuple[type[Replica], Task, ModelAddress]:
    return CascadeReplica, TICKETS, site.cascade(1, 0.5)


@pytest.mark.parametrize("made", [classifier, writer, cascade])
def test_what_was_let_go_is_gone_and_what_comes_back_answers_as_before(site: Site, made: Any) -> None:
    kind, task, model = made(site)
    entry = site.promote(model, site.judge(model, task=task).hash, task)
    replica: Any = kind.__new__(kind)
    replica._thread = threads.one(1)
    replica._verify(site.settings, task, entry.seq, Options())

    def answered() -> Any:
        replica._thread.submit(replica._load).result()
        return asyncio.run(replica.answer(task.input.model_validate({"text": TEXT})))

    first, held = answered(), weakref.ref(replica._model)
    able = replica.abilities()
    replica._thread.submit(replica._free).result()
    gc.collect()
    assert held() is None
    assert replica.abilities() == able
    assert answered() == first
    replica._free()


async def nothing() -> None: ...


def test_a_version_that_would_never_fit_is_refused_by_its_size() -> None:
    with pytest.raises(RefusedError, match="does not fit") as refused:
        Residence(None, ("replica", "node"), 3 * 1024**2, 2 * 1024**2, nothing, nothing)
    assert "3.0 MiB" in str(refused.value)
    assert "--resident-mib" in str(refused.value)


def test_the_option_is_mebibytes_and_without_it_all_stay(site: Site) -> None:
    def chosen(*given: Any) -> int | None:
        return options(site.settings, (), None, None, "python", (), 1, *given).resident_bytes

    assert (chosen(), chosen(None), chosen(3)) == (None, None, 3 * 1024**2)
    refused = CliRunner().invoke(app, ["serve", "--resident-mib", "0"])
    assert refused.exit_code == 2

"""A cascade behind a replica and over HTTP: the answer served is the answer judged, and says which part gave it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from hotline import families
from hotline.errors import IntegrityError, UnavailableError
from hotline.families import cascade
from hotline.tasks import find
from hotline.wishes import Wish
from serving.answers import plain
from serving.cascades import CascadeReplica
from serving.engines import threads
from serving.replica import Options

if TYPE_CHECKING:
    from hotline.records import ModelAddress
    from tests.serving.conftest import Site

TASK = find("ticket_category")
TEXTS = ["路灯坏了", "井盖丢了", "公交晚点", "半夜施工", "城乡建设/市政/路灯坏了1", "您好，请问怎么办理"]
INPUTS = [TASK.input.model_validate({"text": text}) for text in TEXTS]


def judged(site: Site, model: ModelAddress) -> list[dict[str, Any]]:
    """What the gate would have said of them."""
    family, loaded = families.load(site.settings.verified / model.digest, TASK)
    return [plain(answer) for answer in families.answer(family, loaded, INPUTS)]


def replica(site: Site, model: ModelAddress, options: Options) -> Any:
    """What Ray Serve would start, without Ray."""
    verdict = site.judge(model)
    entry = site.promote(model, verdict.hash)
    made: Any = CascadeReplica.__new__(CascadeReplica)
    made._thread = threads.one(1)
    made._verify(site.settings, TASK, entry.seq, options)
    made._load()
    return made


def same(said: dict[str, Any], expected: dict[str, Any]) -> bool:
    near = pytest.approx(expected["confidence"], abs=1e-5)
    others = [each["answer"] for each in said["alternatives"]] == [each["answer"] for each in expected["alternatives"]]
    return said["answer"] == expected["answer"] and said["confidence"] == near and others


@pytest.mark.parametrize("threshold", [0.0, 0.3, 1.0])
def test_what_is_served_side_by_side_is_what_was_judged_row_by_row(site: Site, threshold: float) -> None:
    model = site.cascade(1, threshold)
    expected = judged(site, model)
    serving = replica(site, model, Options(batch_rows=4))

    async def all_at_once() -> list[dict[str, Any]]:
        return list(await asyncio.gather(*(serving.answer(given) for given in INPUTS)))

    said = asyncio.run(all_at_once())
    assert all(same(*pair) for pair in zip(said, expected, strict=True))
    assert [each["answered_by"] for each in said] == [each["answered_by"] for each in expected]
    parts = {each["answered_by"] for each in said}
    assert parts == {"small"} if threshold == 0 else "large" in parts and "small_after_large" in parts
    serving._engine.stop()


def test_when_too_many_are_written_nobody_gets_the_classifiers_answer_instead(site: Site) -> None:
    serving = replica(site, site.cascade(1, 1.0), Options(waiting=0))
    with pytest.raises(UnavailableError, match="too many"):
        asyncio.run(serving.answer(INPUTS[0]))
    chosen = asyncio.run(serving.answer(INPUTS[0], Wish(options=("环保", "交通"))))
    assert chosen["answered_by"] == "small" and len(chosen["alternatives"]) == 1
    serving._engine.stop()


@pytest.mark.parametrize("part", [cascade.SMALL, cascade.LARGE])
def test_a_flipped_byte_in_either_part_starts_nothing(site: Site, part: str) -> None:
    model = site.cascade(1, 0.5)
    name = max(name for name in model.files if name.startswith(part) and name.endswith(".safetensors"))
    path = site.settings.verified / model.digest / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(IntegrityError, match="bytes are not those that were judged") as refused:
        replica(site, model, Options())
    assert refused.value.where == name


@pytest.mark.slow  # it loads one version more, and the former one again
def test_over_http_the_body_and_a_header_say_which_part_answered(live_site: Site, http: httpx.Client) -> None:
    model = live_site.cascade(77, 0.3)
    expected = judged(live_site, model)
    live_site.promote(model, live_site.judge(model).hash)
    try:
        _until_served(http, model.digest)
        for text, wanted in zip(TEXTS, expected, strict=True):
            response = http.post(f"/v1/tasks/{TASK.name}", json={"text": text})
            body = response.json()
            assert same(body, wanted) and body["provenance"]["digest"] == model.digest
            assert response.headers["x-answered-by"] == body["answered_by"] == wanted["answered_by"]
        batch = http.post(f"/v1/tasks/{TASK.name}/batch", json=[{"text": text} for text in TEXTS]).json()
        assert [each["answered_by"] for each in batch["answers"]] == [each["answered_by"] for each in expected]
        question = {"task": TASK.name, "input": {"text": TEXTS[0]}, "kind": "choice", "options": ["环保", "交通"]}
        assert http.post("/v1/decisions", json=question).status_code == 200
    finally:
        plain_one = live_site.champion(78)
        _until_served(http, plain_one.digest)
    body = http.post(f"/v1/tasks/{TASK.name}", json={"text": TEXTS[0]})
    assert "answered_by" not in body.json() and "x-answered-by" not in body.headers


def _until_served(http: httpx.Client, digest: str) -> None:
    for _ in range(600):
        if digest in {each["digest"] for each in http.get("/v1/models").json()["data"]}:
            return
        time.sleep(0.1)
    raise AssertionError("the version is not served")

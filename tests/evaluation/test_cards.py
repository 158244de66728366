"""What is filed about a judged version: a model card whatever its verdict, a certificate when it passed."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from evaluation import certificate, judged, model_card
from evaluation.judged import Judged, Signature
from evaluation.promote import promote
from hotline import keys
from hotline.errors import RefusedError
from hotline.records import Evidence, Figure, Finding, Lineage, Outcome, Verdict
from hotline.tasks.tickets.ticket_category import TICKET_CATEGORY as TASK

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
REGIONS = tuple(f"第{number}区" for number in range(1, 31))
ZERO = "0" * 64
RECIPE = {"model.base": "Qwen/Qwen3-8B", "seed": "7"}


def figure(score: str, low: float, slice: str | None = None, value: str | None = None, rows: int = 600) -> Figure:
    return Figure(
        score=score, slice=slice, value=value, rows=rows, clusters=rows, estimate=low + 0.02, low=low, high=low + 0.03
    )


@pytest.fixture
def judge(site: Any) -> Callable[[Outcome], Judged]:
    """A verdict with as many findings as a large city's has."""

    def judge(outcome: Outcome) -> Judged:
        address = site.version()
        regions = [figure("accuracy", 0.8 + number / 200, "region", name) for number, name in enumerate(REGIONS, 1)]
        few = figure("accuracy", 0.5, "channel", "app", 7)
        first, second, third, *_ = (bar.words() for bar in TASK.bars["demo"])
        lineage = Lineage(declarations={}, snapshot=ZERO, recipe=ZERO, code=ZERO, base=None)
        verdict = Verdict(
            site=site.name,
            task=TASK.name,
            time="2026-01-31T23:30:00+00:00",
            profile="demo",
            model=address,
            outcome=outcome,
            findings=(
                Finding(bar=first, outcome="passed", reason="0.94 [0.92, 0.95]", figure=figure("macro_f1", 0.92)),
                *(Finding(bar=second, outcome="passed", reason="well", figure=each) for each in regions),
                Finding(bar=third, outcome=outcome, reason="600 | rows", figure=figure("accuracy", -0.01)),
            ),
            figures=(figure("accuracy", 0.93), figure("macro_f1", 0.92), *regions, few),
            evidence=Evidence(lineage=lineage, test_snapshot=ZERO, test_rows=ZERO, policy=ZERO, answers=ZERO),
            previous_champion=None,
            libraries={},
        )
        site.ledger().append(lambda _: verdict, keys.load(site.settings.keys, "gate"))
        return judged.find(site.settings, TASK, address)

    return judge


def words(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def test_the_certificate_says_which_model_on_which_calls_how_sure_and_how_to_check(
    judge: Callable[[Outcome], Judged],
) -> None:
    found = judge("passed")
    page = certificate.page(found)
    said = words(page)
    for each in (found.name, found.verdict.model.digest, found.entry.hash, f"hotline verify {found.name}"):
        assert each in said
    assert "工单事项分类预测" in said  # the declaration's own words, in this page's script
    assert "600 条，来自 600 组" in said.replace(" 条", " 条").replace("  ", " ")
    assert "宏平均 F1 不低于 90 %" in said and "92.0 % ～ 95.0 %" in said
    assert "30 个均达标，最接近界限的是第1区" in said
    assert "第1区 600、" in said and "另有 22 类" in said
    assert "首个模型，无可比对象" in said
    assert "示范用 DEMO" in said
    assert "2026年1月31日" in said
    assert not re.search(r'(?:src|href)="|url\(', page)  # one file, nothing to fetch


def test_the_one_who_promoted_is_on_the_certificate_of_what_answers(
    judge: Callable[[Outcome], Judged], site: Any
) -> None:
    found = judge("passed")
    assert "尚未或不再应答本任务" in words(certificate.page(found))
    promote(site.settings, TASK, found.verdict.model, "as agreed in the meeting")
    said = words(certificate.page(judged.find(site.settings, TASK, found.verdict.model)))
    assert "现任，正在应答本任务" in said
    assert "operator" in said and "as agreed in the meeting" in said


@pytest.mark.parametrize("outcome", ["failed", "insufficient evidence"])
def test_what_did_not_pass_has_a_card_and_no_certificate(judge: Callable[[Outcome], Judged], outcome: Outcome) -> None:
    found = judge(outcome)
    with pytest.raises(RefusedError, match=outcome) as refused:
        certificate.page(found)
    assert "not worse than the champion" in str(refused.value)
    card = model_card.text(found, {})
    assert f"**{outcome.capitalize()}**" in card
    limits = card[card.index("## Limitations") : card.index("## Where")]
    assert "accuracy not worse than the champion by 0.03" in limits


def test_an_expired_verdict_has_no_certificate(judge: Callable[[Outcome], Judged]) -> None:
    class Expired(Judged):
        valid_until = date(2026, 2, 1)  # type: ignore[assignment]

    found = judge("passed")
    with pytest.raises(RefusedError, match="expired"):
        certificate.page(Expired(**vars(found)))


def test_approvals_that_are_still_missing_are_on_the_certificate(judge: Callable[[Outcome], Judged]) -> None:
    class Strict(Judged):
        missing_approvals = 2  # type: ignore[assignment]

    assert "还须 2 人批准方可上线" in words(certificate.page(Strict(**vars(judge("passed")))))


def test_the_card_is_one_that_the_hubs_own_tools_read(judge: Callable[[Outcome], Judged]) -> None:
    found = judge("passed")
    card = ModelCard(model_card.text(found, RECIPE))
    assert card.data.pipeline_tag == "text-classification"
    assert card.data.base_model == "Qwen/Qwen3-8B"
    assert {result.metric_type: result.metric_value for result in card.data.eval_results or ()} == {
        "accuracy": pytest.approx(0.95),
        "macro_f1": pytest.approx(0.94),
    }
    assert "channel app has 7 test rows" in card.text
    assert f"hash `{found.entry.hash}`" in card.text
    assert "600 \\| rows" in card.text  # a bar in a reason does not break the table
    assert "| accuracy | region 第1区 | 600 | 600 |" in card.text


def test_a_base_in_a_folder_is_not_given_out_as_one_of_the_hub(judge: Callable[[Outcome], Judged]) -> None:
    card = ModelCard(model_card.text(judge("passed"), {"model.base": "/models/qwen"}))
    assert "base_model" not in card.data.to_dict()
    assert "/models/qwen" in card.text


def test_a_version_without_a_verdict_has_neither(site: Any) -> None:
    with pytest.raises(RefusedError, match="no verdict on"):
        judged.find(site.settings, TASK, site.version())


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium to print with")
def test_the_certificate_prints_on_one_page_even_when_everybody_signed(
    judge: Callable[[Outcome], Judged], tmp_path: Path
) -> None:
    found = judge("passed")
    signed = Signature("王主任", "2026-02-01T01:00:00+00:00", "已阅，同意上线试运行，" * 12, 7)
    page = tmp_path / "certificate.html"
    page.write_text(certificate.page(replace(found, approvals=(signed, signed), promotion=signed)), encoding="utf-8")
    printed = tmp_path / "certificate.pdf"
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer", f"--print-to-pdf={printed}"]
    subprocess.run([str(CHROMIUM), *options, page.as_uri()], check=True, capture_output=True)
    assert len(re.findall(rb"/Type\s*/Page\b", printed.read_bytes())) == 1

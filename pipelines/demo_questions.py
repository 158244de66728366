"""The demo's questions: where they come from, and which entries the endpoint finds for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hotline import tasks
from hotline.records import Verdict
from hotline.settings import Settings

TASK = tasks.find("faq_match")
LINE = "faq_match"
SOURCE = Path("data") / "incoming" / "questions.xlsx"
ROWS, SEED = 4000, 20260
ASKED = ("厂里倒闭以后社保停了一年，还能补上吗？", "小电驴的号牌在哪里挂", "明天会不会下雨")


def make_source(here: Settings) -> None:
    """The generated spreadsheet; kept when it is there."""
    from data import questions

    source = here.workspace / SOURCE
    if not source.exists():
        source.parent.mkdir(parents=True, exist_ok=True)
        questions.write_xlsx(source, ROWS, SEED)


def figures(verdict: Verdict, write: Callable[..., None]) -> dict[str, float]:
    """What the gate measured on wordings that training never had."""
    found = {each.score: round(float(each.estimate or 0), 4) for each in verdict.figures if each.slice is None}
    write(
        "  questions: [bold]{accuracy:.3f}[/] find their entry, or that there is none, on unseen wordings; "
        "F1 of saying that there is none {refusal_f1:.3f}".format(**found)
    )
    return found


def ask(url: str, write: Callable[..., None]) -> None:
    """Made-up questions through the live endpoint, and the length of their vectors."""
    import httpx

    for question in ASKED:
        reply = httpx.post(f"{url}/v1/tasks/{TASK.name}", json={"question": question}, timeout=30)
        reply.raise_for_status()
        body = reply.json()
        write(f"  「{question}」 → [bold]{body['answer']['label']}[/] {body['confidence']:.2f}")
    reply = httpx.post(f"{url}/v1/embeddings", json={"model": LINE, "input": list(ASKED)}, timeout=30)
    reply.raise_for_status()
    sizes = {len(each["embedding"]) for each in reply.json()["data"]}
    write(f"  as vectors of {', '.join(map(str, sizes))} numbers: POST /v1/embeddings")

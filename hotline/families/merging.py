"""Verified merges: an adapter becomes part of its base's weights, and the result answers as the two did apart.

Legend: A answer tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from hotline.errors import IntegrityError

REPORT_FILE = "merge.json"
MINIMUM_AGREEMENT = 0.995
"""Of the likeliest tokens, merged against unmerged; below it nothing is registered."""
HELD_ROWS = 64
HELD_SCORES = 1 << 28
"""Scores of the unmerged model that are kept for the comparison: 1 GiB."""


class Report(BaseModel):
    """What a merge changed, on held rows that no weight was learnt from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base: str
    """Digest of the base's files, the same before training and at the merge."""
    adapter: dict[str, Any]
    rows: int
    tokens: int
    top1_agreement: float
    """Share of places where merged and unmerged hold the same token for the likeliest."""
    max_logit_difference: float
    texts_alike: float
    """Share of rows that both decode to the same text."""

    @property
    def figures(self) -> dict[str, float]:
        """What a run logs of it."""
        named = ("top1_agreement", "max_logit_difference", "texts_alike")
        return {f"merge/{name}": float(getattr(self, name)) for name in named}


def verified(
    logits: Callable[[], Tensor],
    texts: Callable[[], list[str]],
    fold: Callable[[], None],
    base: str,
    adapter: BaseModel,
) -> Report:
    """Ask, `fold`, ask again: `logits` gives (A, V) at the places of the true answers, `texts` what is decoded.

    Raises IntegrityError when fewer than MINIMUM_AGREEMENT of the likeliest tokens stay, or a weight is not finite.
    """
    with torch.inference_mode():
        before_AV, said = logits().float(), texts()
    try:
        fold()
    except ValueError as error:
        raise IntegrityError("the adapter cannot be merged into its base", found=error) from error
    with torch.inference_mode():
        after_AV, says = logits().float(), texts()
    report = Report(
        base=base,
        adapter=adapter.model_dump(mode="json"),
        rows=len(said),
        tokens=len(before_AV),
        top1_agreement=float((before_AV.argmax(-1) == after_AV.argmax(-1)).float().mean()),
        max_logit_difference=float((before_AV - after_AV).abs().max()),
        texts_alike=sum(a == b for a, b in zip(said, says, strict=True)) / max(1, len(said)),
    )
    _refuse_another_model(report)
    return report


def _refuse_another_model(report: Report) -> None:
    if report.top1_agreement >= MINIMUM_AGREEMENT:
        return
    raise IntegrityError(
        "the merged model does not answer as the unmerged one; nothing is registered",
        where=f"{report.tokens} tokens of {report.rows} held rows",
        found=f"{report.top1_agreement:.2%} of the likeliest tokens stay, logits differ by up to "
        f"{report.max_logit_difference:.3g}, {report.texts_alike:.0%} of the texts stay",
        expected=f"at least {MINIMUM_AGREEMENT:.1%}",
        next="set dtype: float32, or merge: false to keep the adapter beside its base",
    )


def save(report: Report, folder: Path) -> None:
    """merge.json, among the version's own files."""
    (folder / REPORT_FILE).write_text(report.model_dump_json(indent=1), encoding="utf-8")

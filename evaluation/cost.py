"""What an endpoint's answers cost: money, tokens and time, as a person compares offers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from evaluation.asking import Reply

Amount = Annotated[float, Field(ge=0)]


class Price(BaseModel):
    """What the endpoint bills; what is not named costs nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    currency: Annotated[str, Field(min_length=1, max_length=8)] = "CNY"
    per_1000_input_tokens: Amount = 0.0
    per_1000_output_tokens: Amount = 0.0
    per_audio_minute: Amount = 0.0
    per_1000_calls: Amount = 0.0

    @property
    def of_tokens(self) -> bool:
        return bool(self.per_1000_input_tokens or self.per_1000_output_tokens)


@dataclass(frozen=True)
class Usage:
    """What the answers took: times in seconds, money in the price's currency."""

    calls: int
    retries: int
    seconds: float
    latency_median: float
    latency_95: float
    """95 % of calls were answered in that time; without the pauses before a retry."""
    input_tokens: int | None
    """None where the endpoint did not say it for every call."""
    output_tokens: int | None
    audio_seconds: float
    cost: float | None
    """Of all calls; None without a price, or with one of tokens that were not told."""
    currency: str | None
    outside: int
    """Labels that are none of the tree; they count as wrong."""
    versions: tuple[str, ...]
    """What answered, as the endpoint itself says."""

    @property
    def cost_per_1000(self) -> float | None:
        return None if self.cost is None else 1000 * self.cost / self.calls

    @property
    def words(self) -> str:
        """For the terminal."""
        cost = self.cost_per_1000
        parts = [
            "cost unknown" if cost is None else f"{cost:.4g} {self.currency} per 1,000 calls",
            f"latency {self.latency_median:.3f} s median, {self.latency_95:.3f} s at 95 %",
            f"{self.calls} calls in {self.seconds:.1f} s, {self.retries} retries",
        ]
        parts += [f"{self.outside} labels outside of the tree"] if self.outside else []
        parts += [f"answered by {', '.join(self.versions)}"] if self.versions else []
        return "; ".join(parts)

    def as_dict(self) -> dict[str, Any]:
        return {**vars(self), "versions": list(self.versions), "cost_per_1000_calls": self.cost_per_1000}


def usage(price: Price | None, replies: Sequence[Reply], seconds: float, audio_seconds: float) -> Usage:
    """Of replies that took `seconds` together, to inputs with that much sound."""
    latencies = np.array([reply.seconds for reply in replies])
    asked, written = _sum([r.input_tokens for r in replies]), _sum([r.output_tokens for r in replies])
    return Usage(
        calls=len(replies),
        retries=sum(reply.retries for reply in replies),
        seconds=seconds,
        latency_median=float(np.median(latencies)),
        latency_95=float(np.percentile(latencies, 95)),
        input_tokens=asked,
        output_tokens=written,
        audio_seconds=audio_seconds,
        cost=_cost(price, len(replies), asked, written, audio_seconds),
        currency=price.currency if price else None,
        outside=sum(reply.outside for reply in replies),
        versions=tuple(sorted({reply.version for reply in replies if reply.version})),
    )


def _sum(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _cost(
    price: Price | None, calls: int, input_tokens: int | None, output_tokens: int | None, audio_seconds: float
) -> float | None:
    if price is None:
        return None
    cost = price.per_1000_calls * calls / 1000 + price.per_audio_minute * audio_seconds / 60
    if price.of_tokens:
        if input_tokens is None or output_tokens is None:
            return None
        cost += (price.per_1000_input_tokens * input_tokens + price.per_1000_output_tokens * output_tokens) / 1000
    return cost

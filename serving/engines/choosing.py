"""The next token of one answer: likeliest or drawn, under its bias, penalties and grammar. Legend: V vocabulary."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor

from hotline.families import generation
from serving.engines.plans import Plan, Token

NEVER = float("-inf")


class Chooser:
    """Chooses the tokens of one answer, one after another."""

    def __init__(self, plan: Plan) -> None:
        self._plan, self._counts = plan, Counter[int]()
        limits, self.guide = plan.limits, plan.grammar.guide() if plan.grammar else None
        self._never = torch.tensor(list(limits.never), dtype=torch.long)
        self._first = torch.tensor([*limits.never, *limits.never_first], dtype=torch.long)
        self._repeated = set(plan.prompt) if plan.penalties.repetition != 1 else set[int]()
        self._shape: list[Any] = []
        if plan.sampling:
            assert plan.draw is not None
            self._shape = [*generation.warpers(plan.sampling), generation.Drawn([plan.draw])]

    def choose(self, logits_V: Tensor, written: int) -> Token:
        """The token after the `written` ones before it. Raises InputError when the grammar cannot be followed."""
        plan, scores_V = self._plan, self._biased(logits_V)
        scores_V[self._never if written else self._first] = NEVER
        if self.guide:
            scores_V[torch.from_numpy(~self.guide.allowed())] = NEVER
        for shape in self._shape:
            scores_V = shape(None, scores_V[None])[0]
        number = int(scores_V.argmax())
        if self.guide:
            number = self.guide.fitting(number, plan.limits.longest - written)
            self.guide.take(number)
        self._counts[number] += 1
        return self._told(logits_V, number)

    def _biased(self, logits_V: Tensor) -> Tensor:
        """The scores in memory of their own, with the caller's bias and penalties."""
        scores_V, penalties = logits_V.clone(), self._plan.penalties
        if penalties.repetition != 1:
            seen = torch.tensor(list({*self._repeated, *self._counts}), dtype=torch.long)
            found = scores_V[seen]
            scores_V[seen] = torch.where(found < 0, found * penalties.repetition, found / penalties.repetition)
        if self._counts and (penalties.presence or penalties.frequency):
            numbers = torch.tensor(list(self._counts))
            scores_V[numbers] -= penalties.presence + penalties.frequency * torch.tensor(
                list(self._counts.values()), dtype=scores_V.dtype
            )
        for number, bias in self._plan.bias.items():
            scores_V[number] += bias
        return scores_V

    def _told(self, logits_V: Tensor, number: int) -> Token:
        total = torch.logsumexp(logits_V, 0)
        top: list[tuple[int, float]] = []
        if self._plan.top:
            likeliest = torch.topk(logits_V, self._plan.top)
            top = [(int(n), float(each - total)) for each, n in zip(likeliest.values, likeliest.indices, strict=True)]
        return Token(number, float(logits_V[number] - total), tuple(top))

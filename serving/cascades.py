"""A replica of a cascade: the classifier in batches, and the writer for many callers at once where it is asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hotline import families
from hotline.task import Answer, Input
from hotline.wishes import NOTHING, Wish
from serving.answers import plain
from serving.replica import Asked, Options, Replica
from serving.writing import engine, written


class CascadeReplica(Replica):
    """Answers one task with both parts of one version: a sure answer never waits for one that is being written."""

    def _threads(self, options: Options) -> int:
        """One for the classifier: the engine's thread has the rest."""
        return 1

    def _load(self) -> None:
        super()._load()
        self._engine = engine(self._model.large, self._options)

    def _free(self) -> None:
        self._engine.stop()
        del self._engine
        super()._free()

    async def answer(self, question: Input, wish: Wish = NOTHING, urgent: bool = True) -> dict[str, Any]:
        """As `families.answer` would; the batches and the engine stand in the place of the family's `forward`.

        Raises UnavailableError when too many answers are being written: the classifier alone was not judged.
        """
        from hotline.families import cascade

        async with self._held():
            quick = await self._batches.answer(Asked(question, wish, urgent))
            if isinstance(quick, Exception):
                raise quick
            asked = not wish.options and not cascade.is_sure(self._model, quick)
            said = await written(self._engine, self._model.large, question) if asked else None
            return plain(cascade.settled(self._model, quick, said), wish)

    def _answers(self, calls: Sequence[Asked]) -> list[Answer]:
        """The classifier's."""
        small = families.find("classifier")
        questions, wishes = [call.question for call in calls], [call.wish for call in calls]
        return families.answer(small, self._model.small, questions, max(len(calls), 1), wishes)

    def _warm_up(self, options: Options) -> None:
        """Both parts: the classifier alone and in batches, and the writer once."""
        import torch

        from hotline.families import writer

        super()._warm_up(options)
        examples = [self._task.input.model_validate(example) for example in self._task.examples[:1]]
        with torch.inference_mode():
            for example in examples:
                writer.forward(self._model.large, writer.prepare(self._model.large, [example]))

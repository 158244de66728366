"""What a replica gives back: an answer in plain values, or that there is none."""

from __future__ import annotations

from typing import Any

from hotline.errors import NoAnswer
from hotline.task import Answer, Task
from hotline.wishes import NOTHING, Wish


def plain(answer: Answer, wish: Wish = NOTHING) -> dict[str, Any]:
    """An answer as JSON values; `answered_by` of a version made of several, and what was wished for beside it."""
    wished: dict[str, Any] = {"words": [word.model_dump() for word in answer.words]} if wish.words else {}
    wished |= {"tokens": list(answer.tokens)} if wish.tokens else {}
    wished |= {"vector": answer.vector.model_dump()} if wish.vector and answer.vector else {}
    wished |= {"answered_by": answer.answered_by} if answer.answered_by else {}
    return {
        **wished,
        "answer": answer.target.model_dump(mode="json"),
        "confidence": answer.confidence,
        "alternatives": [
            {"answer": other.model_dump(mode="json"), "confidence": p} for other, p in answer.alternatives
        ],
    }


def no_answer(task: Task) -> NoAnswer:
    """What a caller hears when the version wrote nothing that the task allows; asking again changes nothing."""
    return NoAnswer(
        f"this version finds no answer to this input that {task.name} allows",
        where="body",
        next="put the input in other words; the same input is answered the same",
    )

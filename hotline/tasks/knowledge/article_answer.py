"""Document + question → the answer in the document's words, or an empty text when it does not say (文檔問答)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from hotline.prompts import Prompt
from hotline.task import Bar, Input, Target, Task
from hotline.written_scores import exact_match, must_refuse_recall, over_refusal, refusal_f1, rouge_l, token_f1

MAX_DOCUMENT_CHARACTERS = 20_000
MAX_CHARACTERS = 2_000


class DocumentQuestion(Input):
    document: Annotated[
        str, Field(min_length=1, max_length=MAX_DOCUMENT_CHARACTERS, description="What may be answered from")
    ]
    question: Annotated[str, Field(min_length=1, max_length=1_000, description="One question about it")]


class DocumentAnswer(Target):
    text: Annotated[str, Field(max_length=MAX_CHARACTERS, description="The answer; empty when the document has none")]


ARTICLE_ANSWER = Task(
    name="article_answer",
    summary=__doc__,
    family="writer",
    input=DocumentQuestion,
    target=DocumentAnswer,
    split_by=("caller_id",),
    slices=("region", "channel"),
    scores={
        "token_f1": token_f1,
        "exact_match": exact_match,
        "rouge_l": rouge_l,
        "refusal_f1": refusal_f1,
        "must_refuse_recall": must_refuse_recall,
        "over_refusal": over_refusal,
    },
    targets={"token_f1": 0.85, "refusal_f1": 0.90},
    bars={
        "production": (
            Bar("token_f1", at_least=0.75),
            Bar("refusal_f1", at_least=0.80),
            Bar("token_f1", not_worse_than_champion_by=0.01),
        ),
        "demo": (
            Bar("token_f1", at_least=0.60),
            Bar("token_f1", not_worse_than_champion_by=0.03),
        ),
    },
    prompt=Prompt(
        system="只根据文档回答问题，尽量用文档原文；文档没有说明的，回答“文档未提及”。",
        user="文档：\n{document}\n\n问题：{question}",
        refusal="文档未提及",
    ),
    examples=(
        {
            "document": "新生儿出生后六十日内，由父母持出生医学证明、户口簿到户籍所在地派出所办理出生登记，不收费用。",
            "question": "出生登记要在多久以内办理？",
        },
    ),
)

"""Titles of real messages: ours, from scratch, against the lead sentence.

    python bench/summaries.py --folder FOLDER [--epochs N] [--exercises N] [--threads 1] [--show 0] [--save FOLDER]

FOLDER holds the Teddy Cup 2020 (problem C) tables. The 495 messages of `labelled_495.xlsx` are answered by a writer
trained on those of `messages_4326.xlsx` and `replies_120.xlsx`, without every one that shares its title with a test
message, or three tenths of the 5-grams of the shorter text. So that a small model learns to copy what it has never
seen, exercises are added: texts whose title stands in them word by word. Prints a table with ROUGE-L over characters,
and the interval of the paired difference over callers and near duplicates; the last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.feature_extraction.text import CountVectorizer

from data.store import Rows
from data.tables import read_table
from evaluation.baseline import lead_answers
from evaluation.statistics import interval, paired
from hotline import families
from hotline.scores import Score
from hotline.task import Answer, Target
from hotline.tasks import find
from hotline.written_scores import chrf, rouge_l
from training.fit import fit
from training.recipe import load

ROOT = Path(__file__).resolve().parents[1]
TASK = find("ticket_summary")
SHARED = 0.3
"""Of the shorter text's 5-grams: above it two messages are told apart by nothing that a title says."""
CLAUSE = re.compile(r"[，,。！？!?；;：:、\s]")
SHORT_CLAUSE, SHORT_TITLE, LEAD_CHARACTERS = 6, 5, 30


class Message(NamedTuple):
    title: str
    text: str
    caller: str


def read(path: Path) -> list[Message]:
    """The table's messages, without the blanks around and within them."""
    table = read_table(path, ["留言主题", "留言详情", "留言用户"])
    columns = (table[name] for name in ("留言主题", "留言详情", "留言用户"))
    return [
        Message(*(re.sub(r"\s+", "", str(cell)) for cell in row))
        for row in zip(*columns, strict=True)
        if str(row[0]).strip() and len(str(row[1]).strip()) > 1
    ]


def shared(left: Sequence[str], right: Sequence[str]) -> np.ndarray:
    """All (i, j) whose shorter text has SHARED of its 5-grams in the other; exact."""
    counter = CountVectorizer(analyzer="char", ngram_range=(5, 5), binary=True, dtype=np.float32)
    grams = counter.fit_transform([*left, *right]).tocsr()
    a, b = grams[: len(left)], grams[len(left) :]
    size_a, size_b = (np.asarray(part.sum(axis=1)).ravel() for part in (a, b))
    common = (a @ b.T).tocoo()
    hit = common.data >= SHARED * np.minimum(size_a[common.row], size_b[common.col])
    return np.stack([common.row[hit], common.col[hit]], axis=1)


def training_messages(folder: Path, test: Sequence[Message]) -> list[Message]:
    """The other tables' messages that are not those of the test, each once."""
    found = [*read(folder / "messages_4326.xlsx"), *read(folder / "replies_120.xlsx")]
    seen = set(shared([one.text for one in found], [one.text for one in test])[:, 0].tolist())
    titles = {one.title for one in test}
    kept = [one for number, one in enumerate(found) if number not in seen and one.title not in titles]
    return list({one.text: one for one in kept if len(one.title) >= SHORT_TITLE}.values())


def clusters(test: Sequence[Message]) -> np.ndarray:
    """Messages of one caller or nearly one text share a number."""
    pairs = shared([one.text for one in test], [one.text for one in test])
    _, callers = np.unique([one.caller for one in test], return_inverse=True)
    same = np.argwhere(callers[:, None] == callers[None, :])
    joined = np.concatenate([pairs, same])
    graph = coo_array((np.ones(len(joined)), (joined[:, 0], joined[:, 1])), shape=(len(test),) * 2)
    return np.asarray(connected_components(graph, directed=False)[1])


def exercises(messages: Sequence[Message], count: int, seed: int) -> list[Message]:
    """Texts with a title that stands in them: any characters, alone and after a clause, a title beside one, a clause.

    Half of them are any characters alone: that is where a small model finds out how to copy.
    """
    draw = np.random.default_rng(seed)
    characters = np.array(list("".join(one.text for one in messages)))  # a list would be converted at every draw
    seldom = np.unique(characters)
    made = []
    for number in range(count):
        one, other = (messages[each] for each in draw.integers(0, len(messages), 2))
        clauses = [part for part in CLAUSE.split(other.text) if len(part) >= SHORT_CLAUSE] or [other.text[:20]]
        clause = clauses[int(draw.integers(len(clauses)))][:LEAD_CHARACTERS]
        length = int(SHORT_TITLE * 6 ** draw.random())  # from 5 to 29, more short ones: easy before hard
        drawn = "".join(draw.choice(seldom if number // 8 % 2 else characters, length))
        made.append(_exercise(number % 8, one.title, clause, drawn))
    return made


def _exercise(kind: int, title: str, clause: str, drawn: str) -> Message:
    if kind < 4:
        return Message(drawn, drawn, "")
    if kind == 4:
        return Message(drawn[:16], f"{clause}，{drawn[:16]}。", "")
    if kind == 5:
        return Message(title, f"{title}，{clause}。", "")
    if kind == 6:
        return Message(title, f"{clause}，{title}。", "")
    return Message(clause, f"{clause}。", "")


def rows_of(messages: Sequence[Message]) -> Rows:
    """Messages as typed rows."""
    return Rows(
        ids=[str(number) for number in range(len(messages))],
        inputs=[TASK.input.model_construct(text=one.text) for one in messages],
        targets=[title(one.title) for one in messages],
        provenance={},
        clusters=[],
        splits=[],
    )


def title(text: str) -> Target:
    return TASK.target.model_validate({"text": text[:100]})


def told(texts: Sequence[str]) -> list[Answer]:
    return [Answer(target=title(text), confidence=1.0) for text in texts]


def ours(arguments: argparse.Namespace, messages: Sequence[Message], test: Sequence[Message]) -> list[Answer]:
    """The shipped recipe, trained on the messages and the exercises."""
    recipe = load(ROOT / "training" / "recipes" / "ticket_summary.yaml")
    if arguments.epochs:
        section = recipe.trainer.model_copy(update={"max_epochs": arguments.epochs})
        recipe = recipe.model_copy(update={"trainer": section})
    learn = rows_of([*messages, *exercises(messages, arguments.exercises, recipe.seed)])
    watched = rows_of(messages[:64])  # the loss that Lightning prints; nothing is chosen by it
    family, model = fit(recipe, TASK, None, learn, watched)
    if arguments.save:
        arguments.save.mkdir(parents=True, exist_ok=True)
        family.save(model, arguments.save)
    return families.answer(family, model, rows_of(test).inputs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=ROOT.parent / "shared" / "real-data" / "tickets" / "teddycup")
    parser.add_argument("--epochs", type=int, default=0, help="instead of the recipe's")
    parser.add_argument("--exercises", type=int, default=12000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--show", type=int, default=0, help="print that many titles")
    parser.add_argument("--save", type=Path, help="keep the model there")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("training").setLevel(logging.INFO)  # a line per epoch
    torch.set_num_threads(arguments.threads)
    test = read(arguments.folder / "labelled_495.xlsx")
    messages = training_messages(arguments.folder, test)
    started = time.perf_counter()
    said = ours(arguments, messages, test)
    seconds = time.perf_counter() - started
    leads = {
        "lead sentence": lead_answers("text", TASK, rows_of(test).inputs),
        f"first {LEAD_CHARACTERS} characters": told([one.text[:LEAD_CHARACTERS] for one in test]),
    }
    report({"ours (ticket_summary.yaml)": said, **leads}, test, len(messages), seconds, arguments.show)


def report(systems: dict[str, list[Answer]], test: Sequence[Message], learnt: int, seconds: float, shown: int) -> None:
    """The table and the line of JSON."""
    console, targets, groups = Console(), [title(one.title) for one in test], clusters(test)

    def statistics(score: Score, name: str) -> Any:
        return score.statistics(targets, systems[name])

    table = Table("system", "ROUGE-L", "95 %", "chrF", "ours − it")
    mine, lead, *_ = systems
    differences = {
        name: paired(statistics(rouge_l, name), statistics(rouge_l, mine), groups, score=rouge_l) for name in systems
    }
    for name, answers in systems.items():
        sure, apart = interval(rouge_l, statistics(rouge_l, name), groups), differences[name]
        beside = "" if name == mine else f"{apart.estimate:+.4f} ({apart.low:+.4f} to {apart.high:+.4f})"
        ends = f"{sure.low:.4f}–{sure.high:.4f}"
        table.add_row(name, f"{sure.estimate:.4f}", ends, f"{chrf(targets, answers):.4f}", beside)
    console.print(f"{len(test)} messages in {groups.max() + 1} clusters; learnt from {learnt}, {seconds:.0f} s", table)
    for one, answer in list(zip(test, systems[mine], strict=True))[:shown]:
        console.print(f"{one.title}  |  {answer.target.text}", highlight=False)  # type: ignore[attr-defined]
    figures = {
        "rouge_l": rouge_l(targets, systems[mine]),
        "lead_rouge_l": rouge_l(targets, systems[lead]),
        "difference_low": differences[lead].low,
        "difference_high": differences[lead].high,
    }
    print(json.dumps({name: round(value, 5) for name, value in figures.items()}))


if __name__ == "__main__":
    main()

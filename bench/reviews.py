"""Review labels on real sentences: ours against TF-IDF + logistic regression, near-duplicates apart, 10-fold.

    python bench/reviews.py --file cold_dev.csv [--folds 10] [--threads 2]

The file is a table of COLD (thu-coai/COLDataset, Apache-2.0): sentences of social media, label 1 where they offend a
group. It is read by the mapping that ships (`data/mappings/cold_reviews.yaml`). Every row is tested once by a model
that saw no row of its near-duplicate cluster. The baseline is scikit-learn's, over character 1–3-grams; of several C
the best over all rows is taken, which favours it. Prints a table, and as last line one JSON object.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import StratifiedGroupKFold
from tickets import BASELINE_C, ROOT, SAME_FORM, rows_of, similar, theirs

from data import mapping
from data.drafts import Drafter
from data.tables import read_table
from evaluation.statistics import interval, paired
from hotline import families
from hotline.labels import LabelTree
from hotline.scores import macro_f1
from hotline.task import Answer, Task
from hotline.tasks import find
from training.fit import fit
from training.recipe import load

RECIPE = ROOT / "training" / "recipes" / "cold_reviews.yaml"
MAPPING = ROOT / "data" / "mappings" / "cold_reviews.yaml"
SCORES = ("accuracy", "macro_f1", "violation_recall", "over_flagging")


def read(task: Task, file: Path) -> tuple[list[str], list[str]]:
    """Texts and labels, as an import would have them; rows that it would quarantine are left out."""
    declared = mapping.load(MAPPING)
    declared.check(task)
    table = read_table(file, declared.named_columns())
    drafter = Drafter(task, declared, b"bench", {"site": "bench"})
    drafts = [draft for draft in drafter.drafts(file.name, table.to_dict("records")) if not draft.reasons]
    return [draft.input["text"] for draft in drafts], [draft.target["label"] for draft in drafts]


def clusters_of(texts: Sequence[str]) -> np.ndarray:
    """Near-duplicate clusters: texts whose character 5-grams are half the same."""
    bare = ["".join(text.split()) for text in texts]
    pairs = similar(bare, bare, 5, SAME_FORM)
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(texts),) * 2)
    return np.asarray(connected_components(graph, directed=False)[1])


def ours(task: Task, texts: Sequence[str], labels: Sequence[str], train: Any, test: Any, recipe: Path) -> list[Answer]:
    """The recipe's answers, learnt from the rows that the baseline learns from."""
    watched = rows_of(task, texts, labels, train[:64])  # the loss that Lightning prints; nothing is chosen by it
    learn = rows_of(task, texts, labels, train)
    family, model = fit(load(recipe), task, LabelTree.of(labels), learn, watched)
    return families.answer(family, model, rows_of(task, texts, labels, test).inputs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = ROOT.parent / "shared" / "real-data" / "safety" / "cold_dev.csv"
    parser.add_argument("--file", type=Path, default=data)
    parser.add_argument("--recipe", type=Path, default=RECIPE)
    parser.add_argument("--folds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    task, console = find("review_label"), Console()
    texts, labels = read(task, arguments.file)
    groups = clusters_of(texts)
    folds = StratifiedGroupKFold(arguments.folds, shuffle=True, random_state=0).split(texts, labels, groups)
    mine: dict[int, Answer] = {}
    baseline: list[dict[int, Answer]] = [{} for _ in BASELINE_C]
    for number, (train, test) in enumerate(folds, start=1):
        mine |= dict(zip(test, ours(task, texts, labels, train, test, arguments.recipe), strict=True))
        for answers, said in zip(baseline, theirs(task, texts, labels, train, test), strict=True):
            answers |= dict(zip(test, said, strict=True))
        console.print(f"fold {number} of {arguments.folds}: {len(test)} rows", style="dim")
    report(task, labels, groups, mine, baseline, console)


def report(
    task: Task,
    labels: Sequence[str],
    groups: np.ndarray,
    mine: dict[int, Answer],
    baseline: list[dict[int, Answer]],
    console: Console,
) -> None:
    """The table and the line of JSON."""
    targets = [task.target.model_validate({"label": label}) for label in labels]
    said = [mine[i] for i in range(len(labels))]
    choices = [[answers[i] for i in range(len(labels))] for answers in baseline]
    best = max(range(len(choices)), key=lambda number: macro_f1(targets, choices[number]))
    systems = {"ours": said, f"TF-IDF 1–3 + LR, C={BASELINE_C[best]:g}": choices[best]}
    table, figures = Table("system", *SCORES), {}
    for (name, answers), prefix in zip(systems.items(), ("", "baseline_"), strict=True):
        sure = [interval(task.scores[each], task.scores[each].statistics(targets, answers), groups) for each in SCORES]
        table.add_row(name, *(f"{one.estimate:.4f} ({one.low:.4f}–{one.high:.4f})" for one in sure))
        figures |= {f"{prefix}{each}": one.estimate for each, one in zip(SCORES, sure, strict=True)}
    console.print(f"{len(labels)} rows in {len(set(groups.tolist()))} near-duplicate clusters", table)
    for each in SCORES:
        score = task.scores[each]
        gap = paired(score.statistics(targets, choices[best]), score.statistics(targets, said), groups, score=score)
        console.print(f"{each}, ours − baseline: {gap.estimate:+.4f} ({gap.low:+.4f} to {gap.high:+.4f})")
        figures |= {f"{each}_difference_low": gap.low, f"{each}_difference_high": gap.high}
    print(json.dumps({name: round(float(value), 5) for name, value in figures.items()}))


if __name__ == "__main__":
    main()

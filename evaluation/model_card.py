"""The model card of a judged version: Markdown whose front matter the Hugging Face hub and its tools read.

Mitchell et al. 2019, Model Cards for Model Reporting.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from evaluation.judged import Judged
from hotline import dialects, registry
from hotline.records import Figure, Finding
from hotline.settings import Settings

LICENCE = "to-be-named"
FEW_ROWS = 20
"""Fewer rows of a slice than this are named among the limitations, as a bar would not be decided on them."""
PIPELINE_TAGS = {
    "classifier": "text-classification",
    "transcriber": "automatic-speech-recognition",
    "writer": "text-generation",
    "embedder": "sentence-similarity",
}
TAG_OF_LABELS_OF_SOUND = "audio-classification"


def text(judged: Judged, recipe: Mapping[str, str]) -> str:
    """The card; `recipe` is what the version was trained by, as `recipe_of` finds it."""
    front = yaml.safe_dump(_front(judged, recipe), allow_unicode=True, sort_keys=False, width=120)
    return f"---\n{front}---\n\n" + "\n".join(_body(judged, recipe)) + "\n"


def recipe_of(settings: Settings, judged: Judged) -> dict[str, str]:
    """The recipe of the version's run as MLflow keeps it, nested keys with dots; empty when the run is gone."""
    from mlflow.exceptions import MlflowException

    try:
        run = registry.connect(settings.tracking_uri).get_run(judged.verdict.model.run_id)
    except MlflowException:
        return {}
    return dict(sorted(run.data.params.items()))


def _front(judged: Judged, recipe: Mapping[str, str]) -> dict[str, Any]:
    task, verdict = judged.task, judged.verdict
    labels_of_sound = task.audio_field and "label" in task.target.model_fields
    tag = TAG_OF_LABELS_OF_SOUND if labels_of_sound else PIPELINE_TAGS[task.family]
    base = _base(recipe)
    dataset = {
        "type": "hotline",
        "name": task.corpus_name,
        "split": "test",
        "revision": verdict.evidence.test_snapshot,
    }
    metrics = [
        {"type": figure.score, "name": figure.score, "value": round(figure.estimate, 6)}
        for figure in judged.whole
        if figure.estimate is not None
    ]
    result = {"task": {"type": tag, "name": task.name}, "dataset": dataset, "metrics": metrics}
    return {
        "language": _languages(judged),
        "license": "other",
        "license_name": LICENCE,
        "library_name": "hotline",
        "pipeline_tag": tag,
        **({"base_model": base} if _hub_id(base) else {}),
        "tags": ["hotline", "government", task.name, f"{verdict.profile}-profile", verdict.outcome.replace(" ", "-")],
        "model-index": [{"name": judged.name, "results": [result]}],
    }


def _body(judged: Judged, recipe: Mapping[str, str]) -> Iterator[str]:
    verdict, task = judged.verdict, judged.task
    yield f"# {judged.name}: {task.name}\n"
    yield f"**{verdict.outcome.capitalize()}** under the {verdict.profile} profile of site {verdict.site},"
    yield f"judged {verdict.time} (ledger entry {judged.entry.seq}).\n"
    yield f"{task.summary.strip()}\n"
    yield "## Use\n"
    yield f"Made for one promise, `{task.name}`, on calls like those it was tested on; other uses were not measured."
    yield "Answers say how confident the version is, which version it is, and on what evidence it stands.\n"
    yield "## Verdict\n"
    yield from _table(("", "bar", "where", "reason"), [_finding(each) for each in verdict.findings])
    yield "\n## Scores\n"
    yield "On the test split, with 95 % intervals clustered by call, caller and near-duplicate wording.\n"
    yield from _table(
        ("score", "slice", "rows", "independent callers", "estimate", "interval"),
        [_figure(each) for each in verdict.figures],
    )
    yield "\n## Limitations\n"
    yield from _limitations(judged)
    yield "\n## Where it comes from\n"
    yield from _table(("", ""), [(name, f"`{value}`" if value else "none") for name, value in _lineage(judged).items()])
    yield "\n## Recipe\n"
    shown = yaml.safe_dump(dict(recipe), allow_unicode=True, sort_keys=False) if recipe else "# not kept\n"
    yield f"```yaml\n{shown}```\n"
    yield "## Who approved\n"
    yield from _approved(judged)
    yield "\n## Licence\n"
    yield f"`{LICENCE}`: whoever publishes the version names it. It cannot be wider than that of its base model"
    yield f"({_base(recipe) or 'none: trained from scratch'}), nor than the use that callers agreed to.\n"
    yield "## Check it\n"
    yield f"```sh\nhotline verify {judged.name}\n```\n"
    yield f"The verdict is entry {judged.entry.seq} of the site's ledger, hash `{judged.entry.hash}`."


def _finding(finding: Finding) -> tuple[str, str, str, str]:
    return finding.outcome, finding.bar, _where(finding.figure), finding.reason


def _figure(figure: Figure) -> tuple[str, str, str, str, str, str]:
    interval = "undefined" if figure.low is None or figure.high is None else f"{figure.low:.3f} – {figure.high:.3f}"
    estimate = "undefined" if figure.estimate is None else f"{figure.estimate:.3f}"
    return figure.score, _where(figure), str(figure.rows), str(figure.clusters), estimate, interval


def _where(figure: Figure | None) -> str:
    return f"{figure.slice} {figure.value}" if figure and figure.slice else "all"


def _limitations(judged: Judged) -> Iterator[str]:
    verdict = judged.verdict
    for finding in verdict.findings:
        if finding.outcome == "insufficient evidence":
            yield f"- Insufficient evidence: {finding.bar} ({_where(finding.figure)}): {finding.reason}."
        elif finding.outcome == "failed":
            yield f"- Failed: {finding.bar} ({_where(finding.figure)}): {finding.reason}."
    few = [each for figures in judged.slices().values() for each in figures if each.rows < FEW_ROWS]
    for figure in few:
        yield f"- {_where(figure)} has {figure.rows} test rows: its figures say little."
    if verdict.profile == "demo":
        yield "- The demo profile demands less than production does; a production site refuses this verdict."
    yield "- An interval speaks of callers like those of the test split; what changes later is not in it."


def _lineage(judged: Judged) -> dict[str, str | None]:
    """Names of digests, and of what else the version and its verdict were made from."""
    evidence = judged.verdict.evidence
    parts = {f"part {name}": f"{p.line}@{p.version} {p.digest}" for name, p in evidence.lineage.parts.items()}
    return parts | {
        "version (Merkle root over every file)": judged.verdict.model.digest,
        "training snapshot": evidence.lineage.snapshot,
        "recipe": evidence.lineage.recipe,
        "code": evidence.lineage.code,
        "base model": evidence.lineage.base,
        **({"converted from": converted.source} if (converted := evidence.lineage.converted) else {}),
        "test snapshot": evidence.test_snapshot,
        "test rows and their references": evidence.test_rows,
        "answers": evidence.answers,
        "policy": evidence.policy,
        "MLflow run": judged.verdict.model.run_id,
    }


def _approved(judged: Judged) -> Iterator[str]:
    yield f"- verdict: signed by {judged.gate}, {judged.verdict.time}"
    for each in judged.approvals:
        yield f"- approval: {each.name}, {each.time}, entry {each.seq}: {each.reason}"
    if judged.promotion:
        yield f"- promotion: {judged.promotion.name}, {judged.promotion.time}: {judged.promotion.reason}"
    yield f"- valid until: {judged.valid_until or 'the policy sets no end'}"


def _table(columns: tuple[str, ...], rows: list[Any]) -> Iterator[str]:
    yield "| " + " | ".join(columns) + " |"
    yield "|" + "---|" * len(columns)
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |"


def _languages(judged: Judged) -> list[str]:
    """ISO 639-3 codes of the dialects that it was tested on; Chinese where no slice tells."""
    tested = judged.slices().get("dialect", ())
    heard = {dialects.language(figure.value or "") for figure in tested}
    return sorted(code for code in heard if code) or ["zh"]


def _base(recipe: Mapping[str, str]) -> str | None:
    """The pretrained model that the recipe names: a folder, or a hub id."""
    return recipe.get("model.base") or None


def _hub_id(base: str | None) -> bool:
    return base is not None and base.count("/") == 1 and not base.startswith((".", "/", "~"))

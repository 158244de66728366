"""The demo's telephone calls: where they come from, how hard they are, and what the endpoint hears in them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hotline import families, tasks
from hotline.audio import Audio
from hotline.records import Verdict
from hotline.settings import Settings

if TYPE_CHECKING:
    from data.store import Rows

TASK, DIALECTS = tasks.find("transcription"), tasks.find("dialect_identification")
LINE = "speech"
SOURCE = Path("data") / "incoming" / "calls"
SUMMARY = "summary.json"
SEED = 20260


def make_source(here: Settings, hours: float, write: Callable[..., None]) -> None:
    """The folder of generated calls with its table; kept when it is there with as many hours."""
    from data import calls

    folder = here.workspace / SOURCE
    size = folder.with_suffix(".hours")
    if not (size.exists() and size.read_text() == str(hours)):
        write(f"  speaking {hours:g} h of telephone calls in four dialects …")
        made = calls.generate(folder, hours, SEED)
        folder.with_suffix(".json").write_text(json.dumps(asdict(made), ensure_ascii=False))
        size.write_text(str(hours))


def corpus(here: Settings, write: Callable[..., None]) -> dict[str, Any]:
    """Counts that say how hard the corpus is."""
    from data.store import open_snapshot

    snapshot = open_snapshot(here, TASK)
    train, test = snapshot.rows("train"), snapshot.rows("test")
    seen = {_reference(train, number) for number in range(len(train))}
    texts = [_reference(test, number) for number in range(len(test))]
    everything = [*seen, *texts]
    made: Mapping[str, Any] = json.loads((here.workspace / SOURCE).with_suffix(".json").read_text(encoding="utf-8"))
    found = {
        "snapshot": snapshot.digest,
        "clips": snapshot.manifest.rows,
        "quarantined": sum(summary.quarantined for summary in snapshot.manifest.imports),
        "train_hours": _hours(train),
        "test_hours": _hours(test),
        **{f"{split}_clips": count for split, count in sorted(snapshot.manifest.splits.items())},
        "callers": len(set(train.provenance["caller_id"]) | set(test.provenance["caller_id"])),
        "distinct_sentences": len(set(everything)),
        "vocabulary_characters": len(set("".join(everything))),
        "vocabulary_words": made["words"],
        "test_seen_in_training": round(sum(text in seen for text in texts) / len(texts), 4),
        "test_voices_seen_in_training": made["test_voices_seen"],
    }
    write(
        "  calls: {clips} clips kept, {quarantined} quarantined; {train_hours:.2f} h to learn from, {test_hours:.2f} h "
        "of test; {distinct_sentences} distinct sentences, {vocabulary_characters} characters, {vocabulary_words} "
        "English words; of the test, sentences seen in training {test_seen_in_training:.0%}, voices "
        "{test_voices_seen_in_training:.0%}".format(**found)
    )
    return found


def honesty(
    here: Settings, verdict: Verdict, dialects: Verdict, write: Callable[..., None]
) -> dict[str, float | dict[str, float]]:
    """CER overall and by dialect, beside the same model fed with another clip's sound."""
    from data.store import open_snapshot
    from evaluation import baseline
    from hotline import registry

    test = open_snapshot(here, TASK).rows("test")
    family = families.find(TASK.family)
    model = family.load(registry.fetch(registry.connect(here.tracking_uri), verdict.model, here.verified), TASK)
    control = baseline.shuffled_control(TASK, family, model, test, seed=SEED)
    ours = {figure.score: figure for figure in verdict.figures if figure.slice is None}
    by_dialect = {
        str(figure.value): figure for figure in verdict.figures if (figure.score, figure.slice) == ("cer", "dialect")
    }
    accuracy = next(f.estimate for f in dialects.figures if f.score == "accuracy" and f.slice is None)
    found: dict[str, float | dict[str, float]] = {
        **{name: round(float(figure.estimate or 0), 4) for name, figure in ours.items()},
        "cer_by_dialect": {tag: round(float(figure.estimate or 0), 4) for tag, figure in by_dialect.items()},
        "shuffled_cer": round(control["cer"], 4),
        "dialect_accuracy": round(float(accuracy or 0), 4),
    }
    write(
        f"  calls: CER [bold]{found['cer']:.3f}[/] on unseen voices and sentences; another clip's sound "
        f"{found['shuffled_cer']:.3f}; dialect identified {found['dialect_accuracy']:.3f}"
    )
    for tag, figure in by_dialect.items():
        write(f"    {tag:<14} CER {figure.estimate or 0:.3f}  [{figure.low or 0:.3f}, {figure.high or 0:.3f}]")
    return found


def ask(here: Settings, url: str, write: Callable[..., None]) -> list[dict[str, Any]]:
    """A test clip of every dialect through the live endpoints, beside what was said."""
    import httpx

    from data.store import open_snapshot

    rows = open_snapshot(here, TASK).rows("test")
    heard = []
    for dialect in sorted(set(rows.provenance["dialect"])):
        number = rows.provenance["dialect"].index(dialect)
        sound = wav(getattr(rows.inputs[number], "audio"))  # noqa: B009
        reply = httpx.post(f"{url}/v1/tasks/{TASK.name}", files={"file": (f"{dialect}.wav", sound)}, timeout=60)
        if reply.status_code == 503:
            write(f"  {dialect}: {reply.json()['error']['message']}")
            continue
        reply.raise_for_status()
        body = reply.json()
        said, truth = body["answer"]["text"], _reference(rows, number)
        heard.append(
            {"dialect": dialect, "reference": truth, "heard": said, "identified": body["answer"]["dialect"]}
            | {"confidence": body["confidence"], "request_id": body["id"], "wav": sound}
        )
        mark = "[green]✓[/]" if said == truth.lower() else " "
        write(
            f"  {dialect:<14} was said  {truth}\n{'':<16} was heard [bold]{said}[/] {body['confidence']:.2f} {mark} "
            f"[dim]{body['answer']['dialect']} {body['id']}[/]"
        )
    return heard


def wav(audio: Audio) -> bytes:
    """The sound as a WAV file."""
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, np.asarray(audio.samples), audio.sample_rate_hz, format="WAV", subtype="PCM_16")
    return file.getvalue()


def _hours(rows: Rows) -> float:
    return round(sum(families.size(given) for given in rows.inputs) / 3600, 3)


def _reference(rows: Rows, number: int) -> str:
    return str(getattr(rows.targets[number], "text"))  # noqa: B009 - declared by the demo's task

"""The module of the family `transcriber`, and its files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_model, save_model
from torch import Tensor, nn

from hotline.digests import canonical_json
from hotline.errors import IntegrityError
from hotline.families import merging
from hotline.families.characters import Characters
from hotline.families.transcriber_options import TranscriberOptions
from hotline.families.word_times import Aligner
from hotline.task import Task

WEIGHTS_FILE, MODEL_FILE, DECLARATION_FILE, BASE_FOLDER = "model.safetensors", "transcriber.json", "task.json", "base"


class Transcriber(nn.Module):
    """A recogniser and a dialect head over the mean of its hidden states."""

    dialect_floor: Tensor

    def __init__(
        self,
        task: Task,
        options: TranscriberOptions,
        recogniser: Any,
        dialects: Sequence[str],
        aligner: Aligner | None = None,
    ) -> None:
        super().__init__()
        self.task, self.options, self.dialects = task, options, list(dialects)
        self.recogniser: Any = recogniser
        self.aligner = aligner
        """Where the words lie; None when that was not learnt."""
        self.dialect_head = nn.Linear(recogniser.width, max(1, len(self.dialects)))
        self.register_buffer("dialect_floor", torch.zeros(()))
        self.adapter = getattr(options.root, "adapter", None)
        """What the recogniser's layers carry and is not yet merged."""
        self.base: str | None = None
        self.report: merging.Report | None = None

    @property
    def audio_field(self) -> str:
        return str(self.task.audio_field)

    @property
    def writes(self) -> bool:
        """Whether the task wants the text."""
        return "text" in self.task.target.model_fields


def save(model: Transcriber, folder: Path) -> None:
    """model.safetensors, transcriber.json (options, characters, dialects), task.json, and a base's own files."""
    from hotline.families import making

    assert model.adapter is None, "an adapter is merged by `finish` before it is saved"
    save_model(model, str(folder / WEIGHTS_FILE))  # a tensor that two layers share is written once
    described = {
        "options": model.options.model_dump(mode="json"),
        "dialects": model.dialects,
        "vocabulary": making.vocabulary(model.recogniser),
        "word_times": model.aligner.characters.described() if model.aligner else None,
    }
    (folder / MODEL_FILE).write_text(json.dumps(described, ensure_ascii=False, indent=1), encoding="utf-8")
    (folder / DECLARATION_FILE).write_text(canonical_json(model.task.declaration()), encoding="utf-8")
    making.save_base(model.recogniser, folder / BASE_FOLDER)
    if model.report:
        merging.save(model.report, folder)


def load(folder: Path, task: Task) -> Transcriber:
    """The saved transcriber, ready to answer any task of its input. Raises IntegrityError for another input."""
    from hotline.families import making

    declared = json.loads((folder / DECLARATION_FILE).read_text(encoding="utf-8"))
    mine = json.loads(canonical_json(task.declaration()))
    if declared["input"] != mine["input"] or (declared["task"] == task.name and declared != mine):
        raise IntegrityError(
            f"the model was made for another declaration of {declared['task']!r}",
            where=str(folder / DECLARATION_FILE),
            expected=f"the declaration of {task.name!r} in this version",
            next="hotline train a recipe of this task again",
        )
    described = json.loads((folder / MODEL_FILE).read_text(encoding="utf-8"))
    options = TranscriberOptions.model_validate(described["options"])
    recogniser = making.saved(options.root, described["vocabulary"], folder / BASE_FOLDER)
    known = described.get("word_times")
    aligner = Aligner(recogniser.sample_rate_hz, Characters.restored(known)) if known else None
    model = Transcriber(task, options, recogniser, described["dialects"], aligner)
    model.adapter = None
    load_model(model, folder / WEIGHTS_FILE)
    return model.eval()

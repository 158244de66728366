"""`hotline import transcription` as a person types it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from hotline.audio import tone
from hotline.errors import InputError
from pipelines.cli import app


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bare workspace, which commands find by their environment."""
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy" / "site.yaml").write_text("schema_version: 1\nsite: here\nprofile: demo\n")
    monkeypatch.setenv("HOTLINE_WORKSPACE", str(tmp_path))
    return tmp_path


def clip(path: Path, number: int = 0) -> None:
    """Two seconds of a tone that comes and goes."""
    audio = tone(2.0, 300 + 40 * number)
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = audio.samples.copy()
    samples[np.arange(len(samples)) // 2_000 % 2 == 1] //= 500
    soundfile.write(path, samples, audio.sample_rate_hz)


def test_a_kaldi_folder_needs_no_mapping(site: Path) -> None:
    clip(site / "kaldi" / "call.wav")
    (site / "kaldi" / "wav.scp").write_text("u1 call.wav\n")
    (site / "kaldi" / "text").write_text("u1 路灯坏了\n")
    done = CliRunner().invoke(app, ["import", "transcription", str(site / "kaldi"), "--json"], catch_exceptions=False)
    report = json.loads(done.stdout)
    assert (report["rows_in"], report["kept"], report["sound"]["new_clips"]) == (1, 1, 1)


def test_the_demos_calls_are_imported_by_the_mapping_that_ships(site: Path) -> None:
    for number in range(3):
        clip(site / "calls" / "audio" / f"{number}.wav", number)
    rows = [
        f"c{n},audio/{n}.wav,路灯坏了,s{n},cmn,landline,{side}" for n, side in enumerate(("train", "test", "train"))
    ]
    (site / "calls" / "calls.csv").write_text("\n".join(["id,file,text,speaker,dialect,channel,split", *rows]))
    mapping = Path(__file__).resolve().parents[2] / "data" / "mappings" / "calls.yaml"
    arguments = ["import", "transcription", str(site / "calls"), "--mapping", str(mapping)]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert "3 rows (train 2, validation 0, test 1)" in done.stdout
    assert "3 recordings read" in done.stdout


def test_recordings_without_transcripts_are_refused_with_the_mapping_to_write(site: Path) -> None:
    clip(site / "calls" / "a.wav")
    done = CliRunner().invoke(app, ["import", "transcription", str(site / "calls")])
    assert isinstance(done.exception, InputError)
    assert "--mapping" in str(done.exception)


def test_a_given_format_is_not_guessed(site: Path) -> None:
    clip(site / "calls" / "a.wav")
    done = CliRunner().invoke(app, ["import", "transcription", str(site / "calls"), "--format", "kaldi"])
    assert isinstance(done.exception, InputError)
    assert "not one file of transcripts as kaldi" in str(done.exception)

"""Transcripts as other tools write them: file names, Kaldi, WeNet, FunASR."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from data import mapping as mappings
from data import store, transcripts
from data.ingest import import_table
from hotline.audio import tone
from hotline.errors import InputError
from hotline.settings import Settings
from hotline.task import Task
from hotline.tasks import find


@pytest.fixture
def speech_task() -> Task:
    return find("transcription")


def clip(path: Path, number: int = 0, seconds: float = 3.0) -> None:
    """A tone that stops every other quarter of a second."""
    audio = tone(seconds, 300 + 40 * number)
    samples = audio.samples.copy()
    samples[np.arange(len(samples)) // 2_000 % 2 == 1] //= 500
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, audio.sample_rate_hz)


def shipped(name: str) -> mappings.Mapping:
    return mappings.load(transcripts.SHIPPED / f"{name}.yaml")


def kaldi(folder: Path, segmented: bool = True) -> Path:
    clip(folder / "wav" / "call1.wav", 1, seconds=8)
    clip(folder / "wav" / "call2.wav", 2, seconds=8)
    (folder / "wav.scp").write_text(f"call1 {folder}/wav/call1.wav\ncall2 wav/call2.wav\n")
    if segmented:
        (folder / "segments").write_text("u1 call1 0.0 3.0\nu2 call1 3.5 8.0\nu3 call2 1 5\n")
        (folder / "text").write_bytes(
            "u1 路灯坏了请派人来\nu2 好的谢谢您再见\nu3 我想问一下社保\nu4 没有声音\n".encode("gbk")
        )
        (folder / "utt2spk").write_text("u1 zhang\nu2 zhang\nu3 li\n")
    else:
        (folder / "text").write_text("call1 路灯坏了请派人来\n")
    return folder


def test_a_kaldi_folder_is_cut_by_its_segments(tmp_path: Path, place: Settings, speech_task: Task) -> None:
    mapping = shipped("kaldi").model_copy(update={"max_quarantined": 0.5})
    report = import_table(place, speech_task, mapping, [kaldi(tmp_path / "kaldi")])
    assert (report.rows_in, report.kept, report.quarantined) == (4, 3, 1)
    rows = store.open_snapshot(place, speech_task).rows()
    assert rows.ids == ["u1", "u2", "u3"]
    assert [row.audio.seconds for row in rows.inputs] == [3.0, 4.5, 4.0]  # type: ignore[attr-defined]
    assert rows.provenance["call_id"] == ["call1", "call1", "call2"]
    assert rows.provenance["caller_id"][0] == rows.provenance["caller_id"][1] != rows.provenance["caller_id"][2]
    assert rows.targets[0].text == "路灯坏了请派人来"  # type: ignore[attr-defined]


def test_a_kaldi_folder_without_segments_is_a_clip_per_recording(
    tmp_path: Path, place: Settings, speech_task: Task
) -> None:
    report = import_table(place, speech_task, shipped("kaldi"), [kaldi(tmp_path / "kaldi", segmented=False)])
    assert report.kept == 1
    assert report.sound is not None
    assert report.sound.without_transcript == 1


def test_a_command_in_wav_scp_is_never_run(tmp_path: Path, place: Settings, speech_task: Task) -> None:
    folder = kaldi(tmp_path / "kaldi")
    proof = tmp_path / "proof"
    (folder / "wav.scp").write_text(f"call1 touch {proof} |\ncall2 wav/call2.wav\n")
    mapping = shipped("kaldi").model_copy(update={"max_quarantined": 0.9})
    report = import_table(place, speech_task, mapping, [folder])
    assert report.reasons["input.audio: a command instead of a file, which is not run"] == 2
    assert not proof.exists()


def test_wenets_data_list_is_read(tmp_path: Path, place: Settings, speech_task: Task) -> None:
    clip(tmp_path / "wenet" / "clips" / "a.wav")
    line = {"key": "a", "wav": "/export/data/clips/a.wav", "txt": "路灯坏了请派人来"}
    (tmp_path / "wenet" / "data.list").write_text(json.dumps(line, ensure_ascii=False) + "\n", encoding="utf-8")
    assert transcripts.usual_mapping([tmp_path / "wenet"], "auto").path.stem == "wenet"
    assert import_table(place, speech_task, shipped("wenet"), [tmp_path / "wenet"]).kept == 1


def test_funasrs_lines_are_told_from_another_table(tmp_path: Path, place: Settings, speech_task: Task) -> None:
    clip(tmp_path / "funasr" / "a.wav")
    line = {"key": "a", "source": "a.wav", "source_len": 300, "target": "路灯坏了请派人来", "target_len": 8}
    (tmp_path / "funasr" / "train.jsonl").write_text(json.dumps(line) + "\n")
    assert transcripts.usual_mapping([tmp_path / "funasr"], "auto").path.stem == "funasr"
    assert import_table(place, speech_task, shipped("funasr"), [tmp_path / "funasr"]).kept == 1


def test_file_names_say_what_is_in_them(tmp_path: Path, place: Settings, speech_task: Task) -> None:
    for number, name in enumerate(("7_jackson_0", "3_george_1", "unlike")):
        clip(tmp_path / "digits" / f"{name}.wav", number)
    (tmp_path / "digits" / "README.md").write_text("not a clip")
    mapping = shipped("fsdd").model_copy(update={"max_quarantined": 0.5})
    report = import_table(place, speech_task, mapping, [tmp_path / "digits"])
    assert (report.rows_in, report.kept) == (3, 2)
    assert report.reasons == {"input.audio: the file's name does not match": 1}
    rows = store.open_snapshot(place, speech_task).rows()
    assert [target.text for target in rows.targets] == ["3", "7"]  # type: ignore[attr-defined]


def test_a_folder_that_says_nothing_about_its_clips_is_refused_with_what_to_do(tmp_path: Path) -> None:
    clip(tmp_path / "clips" / "a.wav")
    with pytest.raises(InputError, match="no transcripts") as refused:
        transcripts.usual_mapping([tmp_path / "clips"], "auto")
    assert "--mapping" in (refused.value.next or "")


def test_what_is_neither_folder_nor_zip_is_refused(tmp_path: Path, place: Settings, speech_task: Task) -> None:
    (tmp_path / "calls.zip").write_bytes(b"no archive")
    for name in ("calls.zip", "absent"):
        with pytest.raises(InputError, match="neither a folder nor a zip"):
            import_table(place, speech_task, shipped("fsdd"), [tmp_path / name])


def test_a_number_in_a_files_name_does_not_get_into_quarantine(
    tmp_path: Path, place: Settings, speech_task: Task
) -> None:
    clip(tmp_path / "digits" / "7_jackson_0.wav")
    clip(tmp_path / "digits" / "call-13800138000.wav", 1)
    mapping = shipped("fsdd").model_copy(update={"max_quarantined": 0.5})
    report = import_table(place, speech_task, mapping, [tmp_path / "digits"])
    assert report.quarantine is not None
    said = Path(report.quarantine).read_text(encoding="utf-8")
    assert "13800138000" not in said
    assert "[mobile]" in said


def test_recordings_may_lie_elsewhere_and_their_names_may_tell_the_speaker(
    tmp_path: Path, place: Settings, speech_task: Task
) -> None:
    clip(tmp_path / "nas" / "2024" / "wang_001.wav", 1)
    clip(tmp_path / "nas" / "2024" / "chen_002.wav", 2)
    delivery = tmp_path / "delivery"
    delivery.mkdir()
    lines = ["recording\ttext", "wang_001\t路灯坏了请派人来", "chen_002\t我想问一下社保"]
    (delivery / "transcripts.tsv").write_text("\n".join(lines), encoding="utf-8")
    path = tmp_path / "mapping.yaml"
    path.write_text(
        "columns: {input.audio: recording, target.text: text, provenance.caller_id: speaker}\n"
        "recordings: {sound: nas, names: '(?P<speaker>[a-z]+)_[0-9]+'}\n"
    )
    report = import_table(place, speech_task, mappings.load(path).read_as("table"), [delivery])
    assert report.kept == 2
    rows = store.open_snapshot(place, speech_task).rows()
    assert set(rows.provenance["call_id"]) == {"wang_001", "chen_002"}
    assert len(set(rows.provenance["caller_id"])) == 2


def test_one_voice_on_both_channels_is_one_sound(tmp_path: Path, place: Settings, speech_task: Task) -> None:
    clip(tmp_path / "calls" / "7_jackson_0.wav")
    path = tmp_path / "calls" / "7_jackson_0.wav"
    samples, rate = soundfile.read(path, dtype="int16")
    soundfile.write(path, np.stack([samples, samples], axis=1), rate)
    assert import_table(place, speech_task, shipped("fsdd"), [tmp_path / "calls"]).kept == 1

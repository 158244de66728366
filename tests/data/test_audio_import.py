"""Recordings come in with their transcripts: kept or quarantined with a reason, and nothing of it twice."""

from __future__ import annotations

import csv
import io
import json
import shutil
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from data import mapping as mappings
from data import store
from data.ingest import import_table
from data.report import ImportReport
from hotline.errors import ContractError, InputError, IntegrityError
from hotline.settings import Settings
from hotline.task import Task
from hotline.tasks import find

RATE = 8_000
MAPPING = """
columns: {id: id, input.audio: file, target.text: text, provenance.caller_id: speaker}
constants: {dialect: cmn}
max_quarantined: 0.95
"""
HEADER = ("id", "file", "text", "speaker")
SAID = "路灯坏了请派人来"
Deliver = Callable[..., Path]
Import = Callable[..., ImportReport]


def speech(number: int, seconds: float = 2.0, rate: int = RATE) -> np.ndarray:
    """Something that swells and pauses as speech does, another one for every number."""
    draw = np.random.default_rng(number)
    time_T = np.arange(int(seconds * rate)) / rate
    swell_T = np.maximum(0, np.sin(2 * np.pi * 1.5 * time_T))
    tone_T = 0.3 * swell_T * np.sin(2 * np.pi * draw.uniform(200, 900) * time_T)
    return np.asarray(tone_T + 0.001 * draw.standard_normal(len(time_T)))


def encoded(samples: np.ndarray, form: str = "WAV", subtype: str = "PCM_16", rate: int = RATE) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, samples, rate, format=form, subtype=subtype)
    return stream.getvalue()


@pytest.fixture
def speech_task() -> Task:
    return find("transcription")


@pytest.fixture
def deliver(tmp_path: Path) -> Deliver:
    """A folder of these files, with a table of these rows when there are any."""

    def write(files: Mapping[str, bytes], rows: Sequence[Sequence[str]] = (), name: str = "calls") -> Path:
        folder = tmp_path / name
        for file, content in files.items():
            path = folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        if rows:
            with (folder / "calls.csv").open("w", encoding="utf-8", newline="") as stream:
                csv.writer(stream).writerows(rows)
        return folder

    return write


@pytest.fixture
def hear(place: Settings, speech_task: Task, mapped: Callable[[str], mappings.Mapping]) -> Import:
    def run(delivery: Path, mapping: str = MAPPING) -> ImportReport:
        return import_table(place, speech_task, mapped(mapping), [delivery])

    return run


def table(count: int, **other: Any) -> tuple[dict[str, bytes], list[tuple[str, ...]]]:
    """That many good clips with their rows."""
    files = {f"audio/{n}.wav": encoded(speech(n)) for n in range(count)}
    rows = [(f"c{n}", f"audio/{n}.wav", SAID, f"s{n}") for n in range(count)]
    return files, [HEADER, *rows]


def quarantined(place: Settings) -> dict[int, str]:
    lines = [line for path in place.quarantine.rglob("*.jsonl") for line in path.read_text().splitlines()]
    return {row["row"]: "; ".join(row["reasons"]) for row in map(json.loads, lines)}


def stored(place: Settings) -> dict[str, bytes]:
    folder = place.corpora / "transcription" / "audio"
    return {path.name: path.read_bytes() for path in folder.glob("*")} if folder.exists() else {}


def test_clips_come_back_as_they_were_sent(deliver: Deliver, hear: Import, place: Settings, speech_task: Task) -> None:
    report = hear(deliver(*table(4)))
    assert (report.rows_in, report.kept, report.quarantined) == (4, 4, 0)
    rows = store.open_snapshot(place, speech_task).rows()
    for number, id in enumerate(rows.ids):
        sent = np.rint(speech(int(id[1:])) * 32_768).clip(-32_768, 32_767)
        assert np.abs(rows.inputs[number].audio.samples - sent).max() <= 1  # type: ignore[attr-defined]
    assert {target.text for target in rows.targets} == {SAID}  # type: ignore[attr-defined]
    assert (set(rows.provenance["dialect"]), set(rows.provenance["language"])) == ({"cmn"}, {"cmn"})
    assert set(rows.provenance["call_id"]) == {"0", "1", "2", "3"}


def test_the_same_delivery_again_adds_neither_rows_nor_sound(deliver: Deliver, hear: Import, place: Settings) -> None:
    delivery = deliver(*table(4))
    first, before = hear(delivery), stored(place)
    again = hear(delivery)
    assert (again.new, again.updated, again.unchanged, again.snapshot) == (0, 0, 4, first.snapshot)
    assert again.sound is not None
    assert again.sound.new_clips == 0
    assert stored(place) == before


def test_a_corrected_transcript_never_rewrites_sound(deliver: Deliver, hear: Import, place: Settings) -> None:
    files, rows = table(4)
    hear(deliver(files, rows))
    before = stored(place)
    rows[2] = (*rows[2][:2], "路灯已经修好了", rows[2][3])
    report = hear(deliver(files, rows))
    assert (report.new, report.updated, report.unchanged) == (0, 1, 3)
    assert stored(place) == before


def test_a_second_delivery_adds_a_shard_of_its_new_clips_only(
    deliver: Deliver, hear: Import, place: Settings, speech_task: Task
) -> None:
    hear(deliver(*table(3)))
    report = hear(deliver(*table(5), name="more"))
    assert report.sound is not None
    assert (report.new, report.unchanged, report.sound.new_clips) == (2, 3, 2)
    assert [shard.clips for shard in store.open_snapshot(place, speech_task).manifest.audio] == [3, 2]


def test_the_snapshot_is_the_same_however_the_shards_are_cut(
    deliver: Deliver, hear: Import, monkeypatch: pytest.MonkeyPatch, place: Settings, speech_task: Task, tmp_path: Path
) -> None:
    delivery = deliver(*table(5))
    report = hear(delivery)
    other = place.model_copy(update={"workspace": tmp_path / "other"})
    shutil.copytree(place.workspace / "policy", other.workspace / "policy")
    monkeypatch.setattr("data.audio_shards.SHARD_BYTES", 40_000)
    assert import_table(other, speech_task, mappings.load(tmp_path / "mapping.yaml"), [delivery]).kept == 5
    cut = store.open_snapshot(other, speech_task)
    assert [shard.clips for shard in cut.manifest.audio] == [2, 2, 1]
    assert cut.digest == report.snapshot
    whole = store.open_snapshot(place, speech_task).rows().inputs
    for one, two in zip(whole, cut.rows().inputs, strict=True):
        assert np.array_equal(one.audio.samples, two.audio.samples)  # type: ignore[attr-defined]


@pytest.mark.parametrize("suffix", [".pcm", ".parquet"])
def test_a_changed_byte_of_sound_is_found_when_the_snapshot_is_opened(
    deliver: Deliver, hear: Import, place: Settings, speech_task: Task, suffix: str
) -> None:
    hear(deliver(*table(2)))
    (path,) = (place.corpora / "transcription" / "audio").glob(f"*{suffix}")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match="differ"):
        store.open_snapshot(place, speech_task)
    path.write_bytes(content[:-2])
    with pytest.raises(IntegrityError):
        store.open_snapshot(place, speech_task)


def test_a_refused_import_leaves_no_sound_behind(deliver: Deliver, hear: Import, place: Settings) -> None:
    files, rows = table(4)
    rows[1:3] = [(*row[:2], "", row[3]) for row in rows[1:3]]
    with pytest.raises(ContractError, match="2 of 4 rows"):
        hear(deliver(files, rows), MAPPING.replace("0.95", "0.05"))
    assert not list(place.corpora.rglob("*.*"))


def test_the_sound_of_a_quarantined_row_is_not_stored(
    deliver: Deliver, hear: Import, place: Settings, speech_task: Task
) -> None:
    files, rows = table(3)
    rows[2] = (rows[1][0], *rows[2][1:])  # its id is taken: found out when its sound was staged already
    report = hear(deliver(files, rows))
    assert report.reasons == {"id: repeated": 1}
    snapshot = store.open_snapshot(place, speech_task)
    assert [shard.clips for shard in snapshot.manifest.audio] == [2]
    assert all(row.audio.seconds == 2 for row in snapshot.rows().inputs)  # type: ignore[attr-defined]


def test_what_a_killed_import_left_is_gone_after_the_next(deliver: Deliver, hear: Import, place: Settings) -> None:
    left = place.corpora / "transcription" / "audio" / ".part-x"
    left.mkdir(parents=True)
    (left / "0.pcm").write_bytes(bytes(100))
    hear(deliver(*table(2)))
    assert not left.exists()


def test_every_file_that_is_no_clip_is_quarantined_with_its_reason(
    deliver: Deliver, hear: Import, place: Settings
) -> None:
    files, rows = table(2)
    whole = files["audio/0.wav"]
    no_rate = bytearray(whole)
    no_rate[24:28] = bytes(4)
    bad = {
        "empty.wav": b"",
        "truncated.wav": whole[: len(whole) // 2],
        "secret.wav": np.random.default_rng(0).bytes(20_000),
        "page.wav": b"<html>Sign in</html>",
        "video.mp4": b"\x00\x00\x00\x18ftypisom" + bytes(20) + b"hdlr\x00\x00\x00\x00vide",
        "norate.wav": bytes(no_rate),
        "three.wav": encoded(np.stack([speech(1)] * 3, axis=1)),
        "stereo.wav": encoded(np.stack([speech(1), speech(2)], axis=1)),
        "silent.wav": encoded(np.zeros(16_000)),
        "clipped.wav": encoded(np.sign(speech(3))),
        "hum.wav": encoded(0.2 * np.sin(np.arange(32_000))),
        "click.wav": encoded(speech(4, seconds=0.05)),
    }
    rows += [(f"b{n}", file, SAID, "s") for n, file in enumerate(bad)]
    report = hear(deliver({**files, **bad}, rows))
    assert (report.rows_in, report.kept, report.quarantined) == (14, 2, 12)
    words = (
        "the audio file is empty (0 bytes)",
        "the audio file is truncated",
        "looks encrypted",
        "not an audio file that can be decoded (HTML page",
        "a video without a sound track",
        "0 Hz",
        "too many channels (3 channels",
        "2 channels and one transcript without its channel",
        "silent (level -inf dBFS",
        "clipped (",
        "nothing above the noise",
        "shorter than a word (0.05 s",
    )
    for (row, reason), expected in zip(sorted(quarantined(place).items()), words, strict=True):
        assert expected in reason, (row, reason)
        assert reason.startswith("input.audio: ")


def test_two_transcripts_for_one_clip_are_both_quarantined(deliver: Deliver, hear: Import, place: Settings) -> None:
    files, rows = table(2)
    rows += [("x", "audio/0.wav", "完全不同的话", "s0"), ("y", "audio/1.wav", SAID, "s1")]
    hear(deliver(files, rows))
    found = quarantined(place)
    assert found[1] == found[3] == "target.text: two transcripts for one clip (rows 1, 3)"
    assert found[4] == "input.audio: the same clip and transcript again (rows 2, 4)"


def test_one_sound_under_two_names_with_two_transcripts_is_quarantined(
    deliver: Deliver, hear: Import, place: Settings
) -> None:
    files, rows = table(3)
    files["audio/2.wav"] = files["audio/1.wav"]
    rows[3] = (*rows[3][:2], "完全不同的话", rows[3][3])
    hear(deliver(files, rows))
    assert {n: "two transcripts for one sound" in reason for n, reason in quarantined(place).items()} == {
        2: True,
        3: True,
    }


def test_a_transcript_without_a_clip_is_quarantined_and_a_clip_without_one_is_counted(
    deliver: Deliver, hear: Import, place: Settings
) -> None:
    files, rows = table(3)
    rows += [("x", "audio/absent.wav", SAID, "s"), ("y", "", SAID, "s"), ("z", "../../secret.wav", SAID, "s")]
    report = hear(deliver({**files, "audio/alone.mp3": b"never read"}, rows))
    assert (report.rows_in, report.kept, report.quarantined) == (6, 3, 3)
    assert all("a transcript without a clip" in reason for reason in quarantined(place).values())
    assert report.sound is not None
    assert report.sound.without_transcript == 1


def test_the_content_decides_and_the_report_says_which_names_are_wrong(deliver: Deliver, hear: Import) -> None:
    files, rows = table(2)
    files["audio/0.wav"] = encoded(speech(0), "FLAC")
    report = hear(deliver(files, rows))
    assert report.kept == 2
    assert report.sound is not None
    assert report.sound.other_kinds == {"FLAC in .wav files": 1}


def test_a_gbk_table_is_read(deliver: Deliver, hear: Import, place: Settings, speech_task: Task) -> None:
    files, rows = table(2)
    folder = deliver(files, rows)
    path = folder / "calls.csv"
    path.write_bytes(path.read_text(encoding="utf-8").encode("gbk"))
    hear(folder)
    assert {t.text for t in store.open_snapshot(place, speech_task).rows().targets} == {SAID}  # type: ignore[attr-defined]


def test_a_zip_is_read_without_unpacking_it_and_with_gbk_names(
    deliver: Deliver, hear: Import, place: Settings, speech_task: Task, tmp_path: Path
) -> None:
    class OldName(zipfile.ZipInfo):
        """As old Chinese tools write it: GBK, without the mark of UTF-8."""

        def _encodeFilenameFlags(self) -> tuple[bytes, int]:
            return self.filename.encode("gbk"), self.flag_bits

    path = tmp_path / "calls.zip"
    with zipfile.ZipFile(path, "w") as packed:
        for number, name in enumerate(("你好", "再见")):
            packed.writestr(OldName(f"clips/{name}.wav"), encoded(speech(number)))
    names = "columns: {input.audio: file, target.text: said}\nrecordings: {names: '(?P<said>.+)'}\n"
    report = hear(path, names)
    assert report.kept == 2
    texts = {target.text for target in store.open_snapshot(place, speech_task).rows().targets}  # type: ignore[attr-defined]
    assert texts == {"你好", "再见"}


def test_a_file_locked_in_an_archive_is_quarantined_as_that(hear: Import, place: Settings, tmp_path: Path) -> None:
    path = tmp_path / "calls.zip"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("one.wav", encoded(speech(1)))
        packed.writestr("two.wav", encoded(speech(2)))
    content = bytearray(path.read_bytes())
    content[content.rindex(b"PK\x01\x02") + 8] |= 1  # the flag of encryption, in the directory's last entry
    path.write_bytes(content)
    hear(path, "columns: {input.audio: file, target.text: stem}\nrecordings: {names: '.+'}\nmax_quarantined: 0.9\n")
    assert "encrypted in the archive" in quarantined(place)[2]


def test_each_channel_has_its_own_transcript_or_is_named(
    deliver: Deliver, hear: Import, place: Settings, speech_task: Task
) -> None:
    both = encoded(np.stack([speech(1), speech(2)], axis=1))
    folder = deliver({"a.wav": both}, [("id", "file", "citizen", "agent"), ("a", "a.wav", SAID, "您好请问什么事")])
    mapping = """
columns: {id: id, input.audio: file, target.text: text}
recordings: {channel_texts: [citizen, agent]}
"""
    report = hear(folder, mapping)
    assert (report.rows_in, report.kept) == (2, 2)
    rows = store.open_snapshot(place, speech_task).rows()
    assert dict(zip(rows.ids, (target.text for target in rows.targets), strict=True)) == {  # type: ignore[attr-defined]
        "a-0": SAID,
        "a-1": "您好请问什么事",
    }
    assert len(set(rows.provenance["caller_id"])) == len(set(rows.splits)) == 1

    named = deliver({"b.wav": both}, [("id", "file", "text", "who"), ("b", "b.wav", SAID, "agent")], name="named")
    roles = "recordings: {channel: who, roles: {citizen: 0, agent: 1}}\n"
    hear(named, "columns: {id: id, input.audio: file, target.text: text}\n" + roles)
    again = store.open_snapshot(place, speech_task).rows()
    heard = {id: row.audio.digest for id, row in zip(again.ids, again.inputs, strict=True)}  # type: ignore[attr-defined]
    assert heard["b"] == heard["a-1"] != heard["a-0"]


def test_a_long_call_is_cut_at_the_times_of_its_rows(
    deliver: Deliver, hear: Import, place: Settings, speech_task: Task
) -> None:
    header = ("id", "file", "text", "from", "to")
    rows = [
        header,
        ("a", "c.wav", SAID, "0", "2.5"),
        ("b", "c.wav", SAID + "吧", "2.5", "6"),
        ("x", "c.wav", "晚", "9", "30"),
    ]
    mapping = """
columns: {id: id, input.audio: file, target.text: text}
recordings: {start: from, end: to}
max_quarantined: 0.9
"""
    report = hear(deliver({"c.wav": encoded(speech(1, seconds=10))}, rows), mapping)
    assert (report.kept, report.quarantined) == (2, 1)
    assert "ends after the recording (30.0 s of 10.00 s)" in quarantined(place)[3]
    found = store.open_snapshot(place, speech_task).rows()
    assert [row.audio.seconds for row in found.inputs] == [2.5, 3.5]  # type: ignore[attr-defined]
    assert len(set(found.provenance["call_id"])) == 1


def test_spans_of_a_reference_text_are_read_from_their_column(
    deliver: Deliver, hear: Import, place: Settings, speech_task: Task
) -> None:
    files, rows = table(2)
    spans = ('[{"start": 0, "end": 2, "kind": "place"}]', "")
    rows = [(*rows[0], "entities"), *((*row, span) for row, span in zip(rows[1:], spans, strict=True))]
    columns = MAPPING.replace("provenance.caller", "target.entities: entities, provenance.caller")
    hear(deliver(files, rows), columns)
    targets = store.open_snapshot(place, speech_task).rows().targets
    assert [len(target.entities) for target in targets] == [1, 0]  # type: ignore[attr-defined]


def test_personal_data_in_a_transcript_quarantines_the_row(deliver: Deliver, hear: Import, place: Settings) -> None:
    files, rows = table(2)
    rows[1] = (*rows[1][:2], "我的电话是13800138000", rows[1][3])
    hear(deliver(files, rows))
    assert "personal data" in quarantined(place)[1]
    assert "13800138000" not in json.dumps(quarantined(place))


def test_a_transcript_far_longer_than_its_clip_is_quarantined(deliver: Deliver, hear: Import, place: Settings) -> None:
    files, rows = table(60)
    rows[7] = (*rows[7][:2], SAID * 9, rows[7][3])
    rows[8] = (*rows[8][:2], "喂", rows[8][3])
    hear(deliver(files, rows))
    found = quarantined(place)
    assert "more than can be spoken in that time (36.0 characters/s" in found[7]
    assert "less than is spoken in that time (0.50 characters/s" in found[8]
    assert len(found) == 2


def test_a_caller_and_a_repeated_sound_are_on_one_side_of_the_split(
    deliver: Deliver, hear: Import, place: Settings, speech_task: Task
) -> None:
    files, rows = table(20)
    files["audio/twin.wav"] = files["audio/3.wav"]
    rows = [HEADER, *((*row[:3], f"s{n % 10}") for n, row in enumerate(rows[1:])), ("t", "audio/twin.wav", SAID, "new")]
    report = hear(deliver(files, rows))
    found = store.open_snapshot(place, speech_task).rows()
    sides = dict(zip(found.ids, found.splits, strict=True))
    assert sides["t"] == sides["c3"] == sides["c13"]
    assert report.largest_cluster == 2


def test_rows_of_a_task_that_sees_another_corpus_are_imported_there(
    place: Settings, mapped: Callable[[str], mappings.Mapping], deliver: Deliver
) -> None:
    with pytest.raises(InputError, match="those of transcription"):
        import_table(place, find("dialect_identification"), mapped(MAPPING), [deliver(*table(1))])

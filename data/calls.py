"""Generated telephone calls for the demo: short sentences to a hotline in four dialects, spoken and sent over a line.

Nobody is heard in the test split who was heard in training (voices), and no sentence and no name of a place comes
back. `generate` and `digits` write sound and a table; the same seed gives the same bytes.
"""

from __future__ import annotations

import csv
import json
import multiprocessing
import random
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from data import sichuanese
from data.call_summary import Summary, summed
from data.call_wordings import SPLITS, Caller, Sentence, dialects, home
from data.voices import Voice, package

COLUMNS = ("id", "file", "text", "speaker", "dialect", "channel", "split", "entities")
NAMED = ("Alex", "Annie", "Denis", "Lee", "Mario", "Michael", "adam", "belinda", "linda", "steph", "victor")
VARIANTS = {
    "train": ("m1", "m2", "m4", "m5", "m7", "m8", "f1", "f3", "f4", *NAMED),
    "validation": ("aunty", "edward"),
    "test": ("m3", "m6", "f2", "f5"),
}
"""espeak-ng's timbres by split."""
PITCHES, RATES = tuple(range(38, 63, 4)), tuple(range(150, 181, 10))
CHANNELS = ("landline", "mobile")
HELD_OUT = {"validation": 40, "test": 140}
"""Clips a dialect, on top of the training hours; at most as large a share of the training clips as below."""
LARGEST_SHARE = {"validation": 0.1, "test": 0.35}
PHRASES_PER_SENTENCE, PHRASE_SHARE = 2.0, 0.68
"""Training has single clauses, too, of about this share of a sentence's seconds: CTC aligns short clips first."""
TRIES = 30
"""Sentences of a pattern that are made up before another pattern is taken."""
SHARDS = 2
"""Processes that speak. The sound depends on what a process said before: another number gives other bytes."""
ACCENTS = ("en", "en-US", "en-GB-x-rp", "en-GB-scotland", "en-GB-x-gbclan", "en-GB-x-gbcwmd", "en-US-nyc", "en-029")
"""espeak-ng's English voices, for digits."""


@dataclass(frozen=True)
class Clip:
    """A row of the table, and what is needed to speak it."""

    id: str
    sentence: Sentence
    voice: Voice
    dialect: str
    channel: str
    split: str

    @property
    def speaker(self) -> str:
        """The caller: a dialect, a timbre, a pitch and a pace."""
        accent = (
            "" if self.voice.language == dialects()[self.dialect]["voice"] else f"-{Path(self.voice.language).name}"
        )
        return f"{self.dialect}{accent}-{self.voice.variant}-p{self.voice.pitch}-r{self.voice.rate}"

    @property
    def spoken(self) -> str:
        """What the voice is given to read."""
        return sichuanese.pinyin(self.sentence.text) if self.dialect == "cmn-sichuan" else self.sentence.text

    def row(self) -> dict[str, str]:
        entities = json.dumps([asdict(entity) for entity in self.sentence.entities])
        said = (self.id, f"audio/{self.id}.wav", self.sentence.text)
        return dict(zip(COLUMNS, (*said, self.speaker, self.dialect, self.channel, self.split, entities), strict=True))


def generate(folder: Path, hours: float, seed: int) -> Summary:
    """Writes `hours` of training speech, and held-out clips on top, as `folder/audio/*.wav` and `folder/calls.csv`.

    Raises UnavailableError where the demo's extra is not installed.
    """
    return _write(folder, plan(hours, seed), seed)


def digits(folder: Path, clips: int, seed: int) -> Summary:
    """Writes that many clips of one English digit each, in all voices and accents; every one is for training."""
    draw = random.Random(seed)
    words, variants = dialects()["en"]["digits"], [variant for split in SPLITS for variant in VARIANTS[split]]
    return _write(folder, [_digit(number, words[number % 10], variants, draw) for number in range(clips)], seed)


def _digit(number: int, word: str, variants: Sequence[str], draw: random.Random) -> Clip:
    voice = Voice(
        f"gmw/{draw.choice(ACCENTS)}", draw.choice(variants), draw.randrange(25, 76, 5), draw.randrange(120, 221, 10)
    )
    return Clip(f"digit-{number:05d}", Sentence(word, ()), voice, "en", draw.choice(CHANNELS), "train")


def plan(hours: float, seed: int) -> list[Clip]:
    """The clips to speak, about equal hours a dialect; more hours leave the held-out ones as they are."""
    clips: list[Clip] = []
    for split in reversed(SPLITS):
        for dialect, words in dialects().items():
            share = hours * 3600 / len(dialects()) / (1 + PHRASES_PER_SENTENCE * PHRASE_SHARE)
            wanted = max(1, round(share / float(words["seconds"])))
            most = int(LARGEST_SHARE.get(split, 1) * wanted * (1 + PHRASES_PER_SENTENCE))
            count = wanted if split == "train" else min(HELD_OUT[split], max(1, most))
            draw = random.Random(f"{seed} {dialect} {split}")
            phrases = round(PHRASES_PER_SENTENCE * count) if split == "train" else 0
            clips.extend(_clips(dialect, split, count, phrases, draw))
    return clips


def _clips(dialect: str, split: str, count: int, phrases: int, draw: random.Random) -> Iterator[Clip]:
    """That many sentences, and then phrases."""
    caller, words = Caller(dialect, split, draw), dialects()[dialect]
    said: set[str] = set()
    for number in range(count + phrases):
        sentence = _own(caller, caller.sentence if number < count else caller.phrase, said)
        pace = round(draw.choice(RATES) * float(words["pace"]))
        voice = Voice(words["voice"], draw.choice(VARIANTS[split]), draw.choice(PITCHES), pace)
        yield Clip(f"{dialect}-{split}-{number:05d}", sentence, voice, dialect, draw.choice(CHANNELS), split)


def _own(caller: Caller, says: Callable[[str], Sentence], said: set[str]) -> Sentence:
    """A sentence of the caller's split: as often as callers say it in training, once in the others.

    Each pattern is as frequent in every split: another one is tried only when its own sentences run out.
    """
    while True:
        pattern = caller.pattern()
        for _ in range(TRIES):
            sentence = says(pattern)
            owned = home(sentence) in (None, caller.split)
            if owned and (caller.split == "train" or sentence.text not in said):
                said.add(sentence.text)
                return sentence


def _write(folder: Path, clips: Sequence[Clip], seed: int) -> Summary:
    """Speaks the clips in fresh processes, each its fixed share in order, and writes the table."""
    for needed in ("espeakng_loader", "pypinyin"):
        package(needed)
    (folder / "audio").mkdir(parents=True, exist_ok=True)
    # Spawned, one process a share: a parent's threads and its loaded voices stay out, and every run says the same.
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(SHARDS, mp_context=fresh, max_tasks_per_child=1) as pool:
        shares = [pool.submit(_speak, folder, clips[shard::SHARDS], seed) for shard in range(SHARDS)]
        seconds = {name: length for share in shares for name, length in share.result().items()}
    with (folder / "calls.csv").open("w", encoding="utf-8", newline="") as table:
        writer = csv.DictWriter(table, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(clip.row() for clip in clips)
    return summed([clip.row() for clip in clips], seconds)


def _speak(folder: Path, clips: Sequence[Clip], seed: int) -> dict[str, float]:
    """Writes the clips' sound; gives back seconds by clip."""
    import numpy as np
    import soundfile

    from data.voices import speech
    from hotline import telephone
    from hotline.audio import Audio

    seconds = {}
    for clip in clips:
        said = Audio(speech().say(clip.spoken, clip.voice), speech().sample_rate_hz)
        draw = np.random.default_rng((seed, zlib.crc32(clip.id.encode())))
        heard = telephone.call(said, clip.channel, dialects()[clip.dialect]["law"], draw)
        soundfile.write(folder / "audio" / f"{clip.id}.wav", heard.samples, heard.sample_rate_hz, subtype="PCM_16")
        seconds[clip.id] = heard.seconds
    return seconds

"""Our figures are those of the field's tools: NIST's sclite and sc_stats, jiwer, sacrebleu. Their output is made here.

`make sctk` installs NIST's tools from Debian's package; without them their tests are skipped.
"""

from __future__ import annotations

import math
import random
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import jiwer
import numpy as np
import pytest
from sacrebleu.metrics import CHRF
from sacrebleu.significance import PairedTest, estimate_ci
from scipy.stats import norm

from evaluation.resampling import resample
from evaluation.segments import Alignment, align, segment_errors
from evaluation.significance import approximate_randomisation, mapsswe, mcnemar
from hotline.scores import Array, Score
from hotline.spoken_scores import (
    cer,
    deletions,
    insertions,
    mer,
    mer_deletions,
    mer_insertions,
    mer_substitutions,
    substitutions,
    wer,
    words_all,
)
from hotline.task import Answer
from hotline.tasks.speech.transcription import Transcript
from hotline.written_scores import chrf

SCTK = shutil.which("sctk")
needs_sctk = pytest.mark.skipif(SCTK is None, reason="NIST's sclite is not installed: make sctk")
PAIRS = 2400
CHARACTERS = "我要投诉天河区路灯坏了没有人来修请尽快派人处理谢谢你们的热线电话一直打不通小区垃圾噪音扰民"
LATIN = ("wifi", "app", "bus", "please", "repair", "lamp")


def made_up(draw: random.Random, latin: float) -> list[str]:
    """Units of a sentence: characters, and now and then a word in Latin letters."""
    return [draw.choice(LATIN if draw.random() < latin else CHARACTERS) for _ in range(draw.randrange(1, 30))]


def misheard(units: list[str], draw: random.Random, rate: float) -> list[str]:
    heard: list[str] = []
    for unit in units:
        lost = draw.random()
        if lost > rate / 3:
            heard.append(draw.choice(CHARACTERS) if lost < 2 * rate / 3 else unit)
        if draw.random() < rate / 3:
            heard.append(draw.choice(CHARACTERS))
    return heard


@dataclass(frozen=True)
class Heard:
    """References and what two systems said of them, by unit."""

    references: list[list[str]]
    systems: dict[str, list[list[str]]]

    @classmethod
    def made(cls, rates: dict[str, float], pairs: int = PAIRS, latin: float = 0.1, seed: int = 0) -> Heard:
        draw = random.Random(seed)
        references = [made_up(draw, latin) for _ in range(pairs)]
        return cls(
            references, {name: [misheard(one, draw, rate) for one in references] for name, rate in rates.items()}
        )

    def rows(self, name: str) -> tuple[list[Transcript], list[Answer]]:
        """As targets and answers; blanks around words in Latin letters only."""
        said = [Answer(target=Transcript(text=" ".join(units)), confidence=1.0) for units in self.systems[name]]
        return [Transcript(text=" ".join(units)) for units in self.references], said


def sclite(heard: Heard, folder: Path) -> dict[str, Path]:
    """sclite's alignment of every system, in a file of marks each; its totals lie beside, in NAME.raw."""

    def written(name: str, texts: list[list[str]]) -> Path:
        lines = [f"{' '.join(units)} (s{row % 7}-{row:05d})\n" for row, units in enumerate(texts)]
        path = folder / f"{name}.trn"
        path.write_text("".join(lines), encoding="utf-8")
        return path

    arguments = [str(SCTK), "sclite", "-e", "utf-8", "-i", "swb", "-f", "0", "-o", "sgml", "rsum"]
    arguments += ["-r", str(written("reference", heard.references)), "trn"]
    for name, texts in heard.systems.items():
        arguments += ["-h", str(written(name, texts)), "trn", name]
    subprocess.run(arguments, check=True, capture_output=True, cwd=folder)
    return {name: folder / f"{name}.trn.sgml" for name in heard.systems}


def marks(path: Path) -> list[str]:
    """C, S, D and I of every utterance in sclite's file, by utterance."""
    blocks = re.findall(r'<PATH id="\(s\d+-(\d+)\)"[^>]*>\n(.*?)</PATH>', path.read_text(encoding="utf-8"), re.S)
    by_row = {int(row): "".join(re.findall(r'(?:^|:)([CSDI]),(?="|,)', block)) for row, block in blocks}
    return [by_row[row] for row in range(len(by_row))]


def printed(folder: Path, name: str) -> dict[str, int]:
    """Counts that sclite prints for all speakers together."""
    text = (folder / f"{name}.trn.raw").read_text(encoding="utf-8")
    found = re.search(r"\| Sum *\|\s*(\d+)\s+(\d+)\s*\|" + r"\s*(\d+)" * 6, text)
    assert found is not None
    columns = ("rows", "units", "correct", "substitutions", "deletions", "insertions", "errors", "wrong rows")
    return dict(zip(columns, map(int, found.groups()), strict=True))


def counts(marked: list[str]) -> Array:
    """Substitutions, deletions, insertions and units of every row: the statistics of error rates."""
    return np.array([(m.count("S"), m.count("D"), m.count("I"), len(m) - m.count("I")) for m in marked], np.float64)


@needs_sctk
@pytest.mark.parametrize(("score", "latin"), [(cer, 0.0), (mer, 0.1)])
def test_totals_of_errors_are_those_of_sclite(score: Score, latin: float, tmp_path: Path) -> None:
    heard = Heard.made({"a": 0.08, "b": 0.3}, latin=latin)
    for name, path in sclite(heard, tmp_path).items():
        theirs, ours = counts(marks(path)), np.asarray(score.statistics(*heard.rows(name)))
        said = printed(tmp_path, name)
        assert theirs[:, :3].sum() == said["errors"] and ours[:, 3].sum() == said["units"]
        # a shortest alignment has the fewest errors; sclite's has the least cost, at 4 a substitution and 3 the others
        more = theirs[:, :3].sum(axis=1) - ours[:, :3].sum(axis=1)
        assert (more >= 0).all() and more.sum() == 0
        other = int((theirs[:, :3] != ours[:, :3]).any(axis=1).sum())
        print(
            f"{score.name}: {said['errors']} errors in {said['units']} units, {other} of {PAIRS} pairs by other kinds"
        )


@needs_sctk
def test_kinds_of_error_are_those_of_sclite_on_its_own_alignment(tmp_path: Path) -> None:
    heard = Heard.made({"a": 0.08, "b": 0.3})
    for name, path in sclite(heard, tmp_path).items():
        said, sums = printed(tmp_path, name), counts(marks(path)).sum(axis=0).reshape(1, -1)
        for score, kind in (
            (mer_substitutions, "substitutions"),
            (mer_deletions, "deletions"),
            (mer_insertions, "insertions"),
            (mer, "errors"),
            (substitutions, "substitutions"),
            (deletions, "deletions"),
            (insertions, "insertions"),
            (cer, "errors"),
        ):
            assert round(float(score.finish(sums)[0]) * said["units"], 6) == said[kind]


def sc_stats(files: dict[str, Path], folder: Path, *options: str) -> None:
    """sc_stats's reports on sclite's alignments, in folder/both.stats.*."""
    together = "".join(path.read_text(encoding="utf-8") for path in files.values())
    arguments = [str(SCTK), "sc_stats", "-p", "-t", "mapsswe", "mcn", *options, "-n", "both", "-O", str(folder)]
    subprocess.run(arguments, input=together.encode(), check=True, capture_output=True)


def report(folder: Path, kind: str) -> str:
    """One of them; it cuts through the bytes of Chinese characters."""
    return (folder / f"both.stats.{kind}").read_text(encoding="utf-8", errors="replace")


def aligned(files: dict[str, Path]) -> list[list[Alignment]]:
    return [[Alignment.of_marks(each) for each in marks(path)] for path in files.values()]


@needs_sctk
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_mapsswe_prints_what_sc_stats_prints(seed: int, tmp_path: Path) -> None:
    files = sclite(Heard.made({"a": 0.10, "b": 0.106}, seed=seed), tmp_path)
    sc_stats(files, tmp_path, "-v")
    found = [pair for left, right in zip(*aligned(files), strict=True) for pair in segment_errors(left, right)]
    a, b = np.array(found).T
    tested, said = mapsswe(a, b), report(tmp_path, "mapsswe")
    assert f"(# segs: {len(found)})" in said
    assert f"(mean: {(a - b).mean():5.3f}) (std dev: {(a - b).std(ddof=1):5.3f})" in said
    assert f"(Z Stat: {-tested.statistic:5.3f})" in said  # ours is of b − a
    assert f"(Stat Diff: {'Yes' if tested.p < 0.05 else 'No'})" in said
    sc_stats(files, tmp_path, "-u")
    p = re.search(r"MP +\|\| +a +\| +\| +\S+ +(<?)([\d.]+)", report(tmp_path, "unified"))
    assert p is not None
    tabled = 2 * norm.sf(math.floor(100 * abs(tested.statistic)) / 100)  # its table of p goes by hundredths
    assert tabled < float(p[2]) if p[1] else f"{tabled:.3f}" == p[2]
    assert tested.p == pytest.approx(tabled, abs=0.008)


@needs_sctk
@pytest.mark.parametrize("changed", [PAIRS, 24, 20])
def test_mcnemar_prints_what_sc_stats_prints(changed: int, tmp_path: Path) -> None:
    """p only where at most 20 utterances decide: beyond, it approximates, and Debian's version by a wrong mean."""
    heard = Heard.made({"a": 0.05, "b": 0.1}, seed=4)
    heard.systems["b"][changed:] = heard.systems["a"][changed:]
    files = sclite(heard, tmp_path)
    sc_stats(files, tmp_path, "-v")
    a, b = (np.array([each.errors == 0 for each in side]) for side in aligned(files))
    said = report(tmp_path, "mcn")
    table = [int(number) for row in re.findall(r"corr +(\d+) +(\d+)", said) for number in row]
    assert sum(table) == PAIRS
    assert table == [int(both.sum()) for both in (a & b, a & ~b, ~a & b, ~a & ~b)]
    if changed < PAIRS:
        assert 5 < table[1] + table[2] <= 20 and f"it occurring is {mcnemar(a, b).p:5.3f}" in said


@needs_sctk
def test_mcnemar_stays_exact_where_sc_stats_approximates(tmp_path: Path) -> None:
    right = {"a": [row < 12 for row in range(37)], "b": [row >= 12 for row in range(37)]}
    systems = {name: [["一", "二" if ok else "三"] for ok in each] for name, each in right.items()}
    heard = Heard([["一", "二"]] * 37, systems)
    sc_stats(sclite(heard, tmp_path), tmp_path, "-v")
    printed_p = re.search(r"it occurring is ([\d.]+)", report(tmp_path, "mcn"))
    assert printed_p is not None
    print(f"12 against 25: sc_stats prints {printed_p[1]}")
    assert f"{mcnemar(right['a'], right['b']).p:.3f}" == "0.047"


def test_our_own_alignment_makes_the_errors_that_rates_count() -> None:
    heard = Heard.made({"a": 0.2}, pairs=200)
    targets, answers = heard.rows("a")
    said = words_all([answer.target.text for answer in answers])  # type: ignore[attr-defined]
    ours = sum(align(a, b).errors for a, b in zip(words_all([t.text for t in targets]), said, strict=True))
    assert ours == np.asarray(mer.statistics(targets, answers))[:, :3].sum()


def test_error_rates_are_those_of_jiwer() -> None:
    spaced = Heard.made({"a": 0.15}, pairs=500, latin=1.0)
    references, heard = ([" ".join(one) for one in side] for side in (spaced.references, spaced.systems["a"]))
    assert wer(*spaced.rows("a")) == pytest.approx(jiwer.wer(references, heard))
    unspaced = Heard.made({"a": 0.15}, pairs=500, latin=0.0)
    references, heard = (["".join(one) for one in side] for side in (unspaced.references, unspaced.systems["a"]))
    assert cer(*unspaced.rows("a")) == pytest.approx(jiwer.cer(references, heard))


@pytest.fixture(scope="module")
def titles() -> Heard:
    return Heard.made({"a": 0.25, "b": 0.28}, pairs=400, latin=0.0, seed=11)


def joined(texts: list[list[str]]) -> list[str]:
    return ["".join(units) for units in texts]


def test_chrf_is_that_of_sacrebleu(titles: Heard) -> None:
    for name in titles.systems:
        expected = CHRF().corpus_score(joined(titles.systems[name]), [joined(titles.references)]).score
        assert 100 * chrf(*titles.rows(name)) == pytest.approx(expected, abs=1e-9)


def test_paired_bootstrap_and_randomisation_are_those_of_sacrebleu(
    titles: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within what the random draws leave open: three standard errors of a share of that many draws."""
    draws = 1000
    monkeypatch.setenv("SACREBLEU_SEED", "7")
    systems = [(name, joined(texts)) for name, texts in titles.systems.items()]
    a, b = (chrf.statistics(*titles.rows(name)) for name in titles.systems)
    clusters = np.arange(len(titles.references))
    (score_a, drawn_a), (score_b, drawn_b) = resample([(chrf, a), (chrf, b)], clusters, draws, seed=1)
    for kind in ("bs", "ar"):
        _, results = PairedTest(systems, {"chrf": CHRF()}, [joined(titles.references)], kind, draws, 0)()
        base, other = results["chrF2"]
        assert (100 * score_a, 100 * score_b) == pytest.approx((base.score, other.score), abs=1e-6)
        if kind == "bs":
            mean, half = estimate_ci(100 * drawn_b)
            assert mean == pytest.approx(other.mean, abs=0.1) and half == pytest.approx(other.ci, rel=0.15)
            apart = np.abs(drawn_b - drawn_a)
            ours = float((1 + (apart - apart.mean() > abs(score_b - score_a)).sum()) / (1 + draws))
        else:
            ours = approximate_randomisation(a, b, clusters, score=chrf, resamples=draws, seed=1).p
        spread = np.sqrt(2 * other.p_value * (1 - other.p_value) / draws)
        assert abs(ours - other.p_value) <= 3 * spread + 2 / draws, (kind, ours, other.p_value)

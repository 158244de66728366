"""Exact and near duplicates: MinHash of character 5-grams, LSH for candidates, exact Jaccard for the decision.

Broder 1997, On the resemblance and containment of documents. Texts are compared without blanks, punctuation and
width; signatures of known texts are kept with the corpus, so that an import computes only those of new ones.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from datasketch import MinHash, MinHashLSH

from hotline import digests

THRESHOLD = 0.7
"""Jaccard similarity of two texts' 5-grams from which they are near duplicates."""
SHINGLE_CHARACTERS = 5
PERMUTATIONS = 64
BANDS, BAND_ROWS = 16, 4
"""A pair at 0.7 becomes a candidate with probability 0.99, one at 0.3 with 0.12; the decision is exact."""
ESTIMATE_FLOOR = THRESHOLD - 0.2
"""Candidates that their signatures put more than three standard errors below the threshold are not looked at."""
NEARLY_EQUAL = 0.95
"""Texts this close to one in the index add nothing to it: a thousand copies stay one entry, and cost stays linear."""
CROWD, CROWD_EQUAL = 1_000, 0.85
"""Where a text has this many candidates already, one this close to them adds nothing either."""
SCHEME = f"minhash-{SHINGLE_CHARACTERS}gram-{PERMUTATIONS}"
_CHUNK_TEXTS = 5_000

Signatures = npt.NDArray[np.uint32]
Shingles = npt.NDArray[np.uint32]


@dataclass(frozen=True)
class Clusters:
    """`names`: the cluster of each new row. `also`: other known clusters that its group touches, where it bridges."""

    names: dict[str, str]
    also: dict[str, frozenset[str]]


@cache
def _dropped(character: str) -> bool:
    return unicodedata.category(character)[0] in "ZPCS"


def bare(text: str) -> str:
    """What is compared: NFKC, lower case, without blanks, punctuation and signs."""
    folded = unicodedata.normalize("NFKC", text).lower()
    return folded.translate({ord(character): None for character in set(folded) if _dropped(character)})


def text_digest(bare_text: str) -> str:
    return hashlib.sha256(bare_text.encode()).hexdigest()[:32]


def shingle_hashes(bare_texts: Sequence[str]) -> tuple[Shingles, npt.NDArray[np.int64]]:
    """32-bit hashes of all 5-grams of all texts, one after the other, and where each text's begin.

    A text shorter than 5 characters is padded and has one shingle.
    """
    padded = [text.ljust(SHINGLE_CHARACTERS, "\0") for text in bare_texts]
    codes = np.frombuffer("".join(padded).encode("utf-32-le"), dtype=np.uint32).astype(np.uint64)
    lengths = np.array([len(text) for text in padded], dtype=np.int64)
    hashes = np.zeros(len(codes) - SHINGLE_CHARACTERS + 1, dtype=np.uint64)
    for place in range(SHINGLE_CHARACTERS):
        hashes = (hashes ^ codes[place : place + len(hashes)]) * np.uint64(0x9E3779B97F4A7C15)
        hashes ^= hashes >> np.uint64(29)
    ends = np.cumsum(lengths)
    keep = np.ones(len(hashes), dtype=bool)
    for place in range(1, SHINGLE_CHARACTERS):  # 5-grams that run over the end of a text are none
        keep[ends[:-1] - place] = False
    starts = ends - lengths - np.arange(len(lengths)) * (SHINGLE_CHARACTERS - 1)
    return (hashes[keep] >> np.uint64(32)).astype(np.uint32), starts


@cache
def _permutations() -> Any:
    """(2, PERMUTATIONS) uint32: datasketch's a and b."""
    return MinHash(num_perm=PERMUTATIONS).permutations


def signatures(bare_texts: Sequence[str]) -> Signatures:
    """(texts, PERMUTATIONS): datasketch's affine32 permutations over the shingle hashes, without a loop per shingle."""
    result = np.empty((len(bare_texts), PERMUTATIONS), dtype=np.uint32)
    a, b = _permutations()
    for start in range(0, len(bare_texts), _CHUNK_TEXTS):
        hashes, starts = shingle_hashes(bare_texts[start : start + _CHUNK_TEXTS])
        for number in range(PERMUTATIONS):
            result[start : start + len(starts), number] = np.minimum.reduceat(hashes * a[number] + b[number], starts)
    return result


def stored_signatures(folder: Path, bare_texts: Sequence[str]) -> Signatures:
    """Signatures of these texts; those not yet under `folder` are computed and added there."""
    place = folder / "signatures" / SCHEME
    known = _known(place)
    wanted = [text_digest(text) for text in bare_texts]
    missing = {digest: text for digest, text in zip(wanted, bare_texts, strict=True) if digest not in known}
    if missing:
        fresh = signatures(list(missing.values()))
        known.update(zip(missing, fresh, strict=True))
        _keep(place, list(missing), fresh)
    return np.stack([known[digest] for digest in wanted]) if wanted else np.empty((0, PERMUTATIONS), np.uint32)


def _known(place: Path) -> dict[str, Any]:
    known: dict[str, Any] = {}
    for path in sorted(place.glob("*.parquet")):
        table = pq.read_table(path)
        rows = np.frombuffer(b"".join(table.column("signature").to_pylist()), dtype="<u4").reshape(-1, PERMUTATIONS)
        known |= dict(zip(table.column("text").to_pylist(), rows, strict=True))
    return known


def _keep(place: Path, texts: Sequence[str], rows: Signatures) -> None:
    place.mkdir(parents=True, exist_ok=True)
    column = pa.array([row.astype("<u4").tobytes() for row in rows], pa.binary(4 * PERMUTATIONS))
    path = place / f"{digests.of_set(digests.of_text(text) for text in texts)[:32]}.parquet"
    scratch = path.with_suffix(".part")
    pq.write_table(pa.table({"text": pa.array(list(texts), pa.string()), "signature": column}), scratch)
    scratch.replace(path)


class _Index:
    """Distinct texts under LSH, and the groups (union-find) that near duplicates make of them."""

    def __init__(self, texts: Sequence[str], rows: Signatures) -> None:
        self.texts, self.rows = texts, rows
        self.lsh = MinHashLSH(num_perm=PERMUTATIONS, params=(BANDS, BAND_ROWS))
        self.shingles: dict[int, frozenset[int]] = {}
        self.group = list(range(len(texts)))

    def add(self, number: int) -> None:
        sketch = MinHash(hashvalues=self.rows[number], permutations=_permutations(), scheme="affine32")
        candidates = np.array(self.lsh.query(sketch), dtype=np.int64)
        closest = self._join(number, candidates) if len(candidates) else 0.0
        if closest < (NEARLY_EQUAL if len(candidates) < CROWD else CROWD_EQUAL):
            self.lsh.insert(number, sketch, check_duplication=False)

    def _join(self, number: int, candidates: npt.NDArray[np.int64]) -> float:
        """Join the groups of near duplicates; how close the closest is that was looked at.

        Those that look closest come first; once a group is joined, its other members need no comparison.
        """
        estimates = (self.rows[candidates] == self.rows[number]).mean(axis=1)
        order = np.lexsort((candidates, -estimates))
        closest = 0.0
        for other in candidates[order[estimates[order] >= ESTIMATE_FLOOR]].tolist():
            root = self.root(other)
            if root == self.root(number):
                continue
            similarity = self._jaccard(number, other)
            closest = max(closest, similarity)
            if similarity >= THRESHOLD:
                self.group[root] = self.root(number)
        return closest

    def root(self, number: int) -> int:
        while self.group[number] != number:
            self.group[number] = self.group[self.group[number]]
            number = self.group[number]
        return number

    def _jaccard(self, a: int, b: int) -> float:
        one, other = self._shingles(a), self._shingles(b)
        return len(one & other) / len(one | other)

    def _shingles(self, number: int) -> frozenset[int]:
        if number not in self.shingles:
            self.shingles[number] = frozenset(shingle_hashes([self.texts[number]])[0].tolist())
        return self.shingles[number]


def cluster(new: Mapping[str, str], old: Mapping[str, str], clusters: Mapping[str, str], folder: Path) -> Clusters:
    """Clusters of new rows (text by row id) among themselves and with old rows, whose `clusters` never change.

    A new cluster is named after the smallest row id in it. A row that is in both was rewritten.
    """
    known: dict[str, set[str]] = defaultdict(set)
    for id, text in old.items():
        known[bare(text)].add(clusters[id])
    members: dict[str, list[str]] = defaultdict(list)
    for id, text in new.items():
        members[bare(text)].append(id)
    texts = [*sorted(known), *sorted(members.keys() - known.keys())]
    index = _Index(texts, stored_signatures(folder, texts))
    for number in range(len(texts)):
        index.add(number)
    groups = [index.root(number) for number in range(len(texts))]
    touched: dict[int, set[str]] = defaultdict(set)
    rows: dict[int, list[str]] = defaultdict(list)
    for text, group in zip(texts, groups, strict=True):
        touched[group] |= known.get(text, set())
        rows[group] += members.get(text, [])
    return _named(rows, touched, clusters)


def same(new: Mapping[str, str], old: Mapping[str, str], clusters: Mapping[str, str]) -> Clusters:
    """As `cluster`, where only what is equal belongs together: digests of sound by row id."""
    rows: dict[str, list[str]] = defaultdict(list)
    for id, digest in new.items():
        rows[digest].append(id)
    touched: dict[str, set[str]] = {digest: set() for digest in rows}
    for id, digest in old.items():
        if digest in touched:
            touched[digest].add(clusters[id])
    order = list(rows)
    return _named(
        {n: rows[digest] for n, digest in enumerate(order)},
        {n: touched[digest] for n, digest in enumerate(order)},
        clusters,
    )


def _named(rows: Mapping[int, Sequence[str]], touched: Mapping[int, set[str]], clusters: Mapping[str, str]) -> Clusters:
    """A row's own earlier cluster when its group touches it, else the smallest known one, else the smallest row id."""
    names, also = {}, {}
    for group, ids in rows.items():
        for id in ids:
            known = touched[group]
            own = clusters.get(id)
            names[id] = own if own in known and own is not None else min(known or ids)
            also[id] = frozenset(known - {names[id]})
    return Clusters(names, also)

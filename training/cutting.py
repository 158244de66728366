"""Cutting an order of rows into micro-batches: by size under a budget, or packed best-fit. Vectorised."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int64]
BUCKET_GROWTH = 1.04
"""From one bucket's longest row to the next one's: about half of what is above 1 is padding."""
PACKING_POOL = 65_536
"""Rows that are packed together; the next pool is packed by itself."""


def edges(sizes: Numbers) -> Numbers:
    """The longest size of every bucket, ascending; the last one holds the largest row."""
    smallest, largest = max(1, int(sizes.min())), max(1, int(sizes.max()))
    found = [smallest]
    while found[-1] < largest:
        found.append(min(largest, max(found[-1] + 1, int(found[-1] * BUCKET_GROWTH))))
    return np.array(found, dtype=np.int64)


def bucketed(order: Numbers, sizes: Numbers, budget: int) -> tuple[Numbers, Numbers]:
    """The order by bucket, random within one, and the places where it is cut: rows × longest row ≤ budget.

    What a bucket leaves over begins the next one's first micro-batch.
    """
    longest = edges(sizes[order])
    bucket = np.searchsorted(longest, sizes[order])
    by_bucket = np.argsort(bucket, kind="stable")
    ceilings = longest[bucket[by_bucket]].tolist()
    cuts, at, rows = [0], 0, len(order)
    while at < rows:
        take = min(max(1, budget // ceilings[at]), rows - at)
        while take > 1 and take * ceilings[at + take - 1] > budget:
            take = max(1, min(take - 1, budget // ceilings[at + take - 1]))
        at += take
        cuts.append(at)
    return order[by_bucket], np.array(cuts, dtype=np.int64)


def pooled(order: Numbers, pools: Numbers) -> Numbers:
    """The order by each row's pool: pools stay what they are in every epoch, and with them the number of sequences."""
    return order[np.argsort(pools[order], kind="stable")]


def packed(order: Numbers, sizes: Numbers, budget: int, sequence: int) -> tuple[Numbers, Numbers, Numbers]:
    """The order by sequence, where micro-batches are cut, and where sequences begin."""
    orders, begins, before = [], [], 0
    for start in range(0, len(order), PACKING_POOL):
        pool = order[start : start + PACKING_POOL]
        place = best_fit(sizes[pool], sequence)
        by_place = np.argsort(place, kind="stable")
        orders.append(pool[by_place])
        begins.append(before + np.searchsorted(place[by_place], np.arange(place.max() + 1)))
        before += len(pool)
    starts = np.concatenate(begins)
    return np.concatenate(orders), np.append(starts[:: max(1, budget // sequence)], before), starts


def best_fit(sizes: Numbers, room: int) -> Numbers:
    """For every row the number of its sequence: best-fit decreasing (Johnson 1974), all rows of one size at once."""
    place = np.zeros(len(sizes), dtype=np.int64)
    by_size = np.argsort(-sizes, kind="stable")
    values, firsts = np.unique(-sizes[by_size], return_index=True)
    free: dict[int, list[Numbers]] = defaultdict(list)
    made = 0
    for size, rows in zip((-values).tolist(), np.split(by_size, firsts[1:]), strict=True):
        for left in sorted(room_left for room_left in free if room_left >= size):
            rows = _placed(place, rows, np.concatenate(free.pop(left)), left, size, free)
            if not len(rows):
                break
        new = -(-len(rows) // max(1, room // max(1, size)))
        if new:
            _placed(place, rows, np.arange(made, made + new), room, size, free)
            made += new
    return place


def _placed(
    place: Numbers, rows: Numbers, open_ones: Numbers, left: int, size: int, free: dict[int, list[Numbers]]
) -> Numbers:
    """Put rows of one size into sequences with `left` room, as many as go into each; gives back those without one."""
    each = left // max(1, size)
    used = min(len(rows), len(open_ones) * each)
    place[rows[:used]] = np.repeat(open_ones, each)[:used]
    full, part = divmod(used, each)
    groups = ((open_ones[:full], each), (open_ones[full : full + 1], part), (open_ones[full + 1 :], 0))
    for numbers, count in groups:
        if len(numbers):
            free[left - count * size].append(numbers)
    return rows[used:]


def levelled(cuts: Numbers, per_step: int, sequences: Numbers | None) -> tuple[Numbers, Numbers]:
    """Starts and stops of micro-batches, a multiple of `per_step` of them.

    The last step is filled by halving micro-batches, its own first; where nothing is left to halve, by repeating the
    last one. A repeated one starts before the one before it stops, and counts for nothing.
    """
    while missing := -(len(cuts) - 1) % per_step:
        middle = _middle(cuts[missing - per_step - 1 :], sequences) or _middle(cuts, sequences)
        if middle is None:
            return np.append(cuts[:-1], [cuts[-2]] * missing), np.append(cuts[1:], [cuts[-1]] * missing)
        cuts = np.insert(cuts, np.searchsorted(cuts, middle), middle)
    return cuts[:-1], cuts[1:]


def _middle(cuts: Numbers, sequences: Numbers | None) -> int | None:
    """Where to halve the micro-batch of most rows (or packed sequences); None when all have one."""
    if sequences is None:
        largest = int(np.argmax(np.diff(cuts)))
        middle = int(cuts[largest] + (cuts[largest + 1] - cuts[largest]) // 2)
        return middle if cuts[largest] < middle else None
    places = np.searchsorted(sequences, cuts)
    found = _middle(places, None)
    return None if found is None else int(sequences[found])

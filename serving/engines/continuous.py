"""Continuous batching: a thread that reads and writes for many answers at a time; they join and leave at every step."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hotline.errors import HotlineError, TooLarge, UnavailableError
from hotline.families import row_cache
from hotline.families.row_cache import Stretch
from serving.engines.choosing import Chooser
from serving.engines.plans import Finish, Piece, Plan, joined
from serving.engines.texts import Text
from serving.engines.watcher import Nobody, Watcher

log = logging.getLogger("ray.serve")


@dataclass(frozen=True)
class Bounds:
    """What the engine may hold at once."""

    rows: int = 32
    """Answers that are written at a time."""
    waiting: int = 256
    """Answers that wait for their turn; more are refused."""
    cache_bytes: int = 1024**3
    """Keys and values of all answers."""
    prompt_tokens: int = 512
    """Of prompts in one step, so that a long one does not hold up the answers that are being written."""


class Inbox:
    """What the engine's thread says to whoever waits for some answers."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._pieces: deque[tuple[int, Piece | Exception]] = deque()
        self._news = asyncio.Event()

    def tell(self, number: int, piece: Piece | Exception) -> None:
        """From the engine's thread, about the answer of that number."""
        self._pieces.append((number, piece))
        self._loop.call_soon_threadsafe(self._news.set)

    async def next(self) -> dict[int, Piece]:
        """Everything that has gathered, by the number of the answer. Raises what stopped one."""
        await self._news.wait()
        self._news.clear()
        found: dict[int, list[Piece]] = {}
        while self._pieces:
            number, piece = self._pieces.popleft()
            if isinstance(piece, Exception):
                raise piece
            found.setdefault(number, []).append(piece)
        return {number: joined(pieces) for number, pieces in found.items()}


class Row:
    """One answer that is being written."""

    def __init__(self, plan: Plan, chat: Any, number: int, inbox: Inbox) -> None:
        self.plan, self.chooser, self.text = plan, Chooser(plan), Text(chat, plan.stops)
        self.stretch: Stretch | None = None
        self.written: list[int] = []
        self.gone = False
        """Whether nobody waits for it any more."""
        self._number, self._inbox = number, inbox

    def tell(self, piece: Piece | Exception) -> None:
        self._inbox.tell(self._number, piece)


class Continuous:
    """The engine of one writer. Everything that touches the model happens in its own thread."""

    def __init__(self, writer: Any, bounds: Bounds, threads: int | None = None) -> None:
        """It computes with `threads`, or with as many as who makes it."""
        self._writer, self._chat, self._bounds = writer, writer.chat, bounds
        config = writer.model.config
        number = next(writer.model.parameters()).element_size()
        tokens = max(1, bounds.cache_bytes // row_cache.bytes_per_token(config, number))
        self._memory = row_cache.memory(writer, tokens)
        self._rows: list[Row] = []
        self._waiting: deque[Row] = deque()
        self._news = threading.Condition()
        self._stopping, self._threads = False, threads or torch.get_num_threads()
        self.watcher: Watcher = Nobody()
        self._thread = threading.Thread(target=self._run, name="writing", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        with self._news:
            self._stopping = True
            self._news.notify()
        self._thread.join()

    @property
    def load(self) -> dict[str, int]:
        """Answers that are written and that wait, and tokens of the memory that are taken."""
        return {
            "rows": len(self._rows),
            "waiting": len(self._waiting),
            "tokens": self._memory.capacity - self._memory.free,
        }

    async def write(self, plans: Sequence[Plan]) -> AsyncIterator[dict[int, Piece]]:
        """What is written of all these answers, as it is, by their numbers; who stops asking ends them.

        Raises TooLarge for one that never fits, UnavailableError when too many wait, both before anything is written.
        """
        inbox = Inbox()
        rows = [Row(plan, self._chat, number, inbox) for number, plan in enumerate(plans)]
        self._begin(rows)
        left = set(range(len(rows)))
        try:
            while left:
                pieces = await inbox.next()
                left -= {number for number, piece in pieces.items() if piece.finish}
                if pieces:
                    yield pieces
        finally:
            for row in rows:
                row.gone = True

    def _begin(self, rows: Sequence[Row]) -> None:
        for row in rows:
            if row.plan.tokens > self._memory.capacity:
                raise TooLarge(
                    "prompt and answer are longer than this endpoint's memory",
                    found=f"{row.plan.tokens} tokens",
                    expected=f"at most {self._memory.capacity}",
                    next="ask for a shorter answer (max_completion_tokens)",
                )
        with self._news:
            if self._stopping or len(self._waiting) + len(rows) > self._bounds.waiting:
                raise UnavailableError("too many answers are waiting to be written", next="try again in a second")
            self._waiting += rows
            self._news.notify()

    def _run(self) -> None:
        torch.set_num_threads(self._threads)  # of this thread alone (threads.py)
        while self._wait():
            try:
                with torch.inference_mode():
                    self._step()
            except Exception:
                log.exception("a step failed; the answers in it are given up")
                for row in self._rows:
                    self._end(row, RuntimeError("the model could not answer this input"))
        for row in (*self._rows, *self._waiting):
            row.tell(UnavailableError("the endpoint is stopping", next="try again in a second"))

    def _wait(self) -> bool:
        """Until there is something to do; False when the engine stops."""
        with self._news:
            while not (self._stopping or self._rows or self._waiting):
                self._news.wait()
            return not self._stopping

    def _step(self) -> None:
        """Admit, read and write once."""
        self._clear()
        self._admit()
        reading = self._reading()
        if not reading:
            return
        began = time.perf_counter()
        scores_RV = self._memory.read([(row.stretch, part) for row, part in reading if row.stretch]).float().cpu()
        self.watcher.step(len(reading), time.perf_counter() - began)
        for (row, _), scores_V in zip(reading, scores_RV, strict=True):
            if row.stretch and row.stretch.seen >= len(row.plan.prompt):
                self._write(row, scores_V)
        self._rows = [row for row in self._rows if row.stretch]

    def _clear(self) -> None:
        for row in self._rows:
            if row.gone:
                self._give_back(row)
        self._rows = [row for row in self._rows if row.stretch]

    def _admit(self) -> None:
        """In the order in which they came, as many as there is room for."""
        with self._news:
            while self._waiting and len(self._rows) < self._bounds.rows:
                row = self._waiting[0]
                row.stretch = None if row.gone else self._memory.take(row.plan.tokens)
                if row.stretch is None and not row.gone:
                    return
                self._waiting.popleft()
                if row.stretch:
                    self._rows.append(row)
                    self.watcher.count(1)

    def _reading(self) -> list[tuple[Row, Sequence[int]]]:
        """What the model reads in this step: the last token of every answer, and of prompts what there is room for."""
        left, found = self._bounds.prompt_tokens, list[tuple[Row, Sequence[int]]]()
        for row in self._rows:
            assert row.stretch
            if row.written:
                found.append((row, row.written[-1:]))
            elif left:
                part = row.plan.prompt[row.stretch.seen : row.stretch.seen + left]
                left -= len(part)
                found.append((row, part))
        return found

    def _write(self, row: Row, scores_V: Tensor) -> None:
        try:
            token = row.chooser.choose(scores_V, len(row.written))
        except HotlineError as error:
            self._end(row, error)
            return
        row.written.append(token.number)
        ended = token.number in self._chat.ends
        said = "" if ended else row.text.add(token.number)
        finish = self._finish(row, ended)
        if finish and not row.text.stopped:
            said += row.text.end()
        guide = row.chooser.guide
        row.tell(Piece(said, (token,), finish, bool(guide and guide.closed)))
        if finish:
            self._give_back(row)

    def _finish(self, row: Row, ended: bool) -> Finish | None:
        guide = row.chooser.guide
        if ended or row.text.stopped or (guide and guide.ended):
            return "stop"
        if len(row.written) < row.plan.limits.longest:
            return None
        return "stop" if guide and guide.complete else "length"

    def _end(self, row: Row, error: Exception) -> None:
        row.tell(error)
        self._give_back(row)

    def _give_back(self, row: Row) -> None:
        if row.stretch:
            self._memory.give_back(row.stretch)
            row.stretch = None
            self.watcher.count(-1)

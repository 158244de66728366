"""How big the page of a comparison is, and how fast it opens: generated transcripts in headless Chromium.

    python bench/compare_page.py [--rows 10000] [--seed 0] [--browser /usr/bin/chromium]

Texts are random characters of the commonest 2,500 (20 to 60 of them), which compress worse than speech; of the two
versions' answers 6 and 8 % of the characters are wrong. No sound is on the page. Opening is from the start of the load
to the moment at which filters work, the slowest of five fresh tabs. Needs playwright and a Chromium. Last line JSON:
`page_mib`, `open_seconds`, `filter_seconds`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from data.snapshot import Rows
from evaluation import page
from evaluation.compare import Comparison, System
from evaluation.page_background import Background, Site
from hotline.audio import tone
from hotline.records import Figure, ModelAddress
from hotline.task import Answer, Provenance
from hotline.tasks.speech.transcription import TRANSCRIPTION, CallAudio, Transcript

DIALECTS = ("cmn", "cmn-sichuan", "yue-hongkong", "en")
ERROR_RATES = (0.06, 0.08)
TABS = 5
ZERO = "0" * 64


def heard(draw: np.random.Generator, text: str, rate: float) -> str:
    """The text with that share of its characters replaced by others."""
    codes = np.array([ord(character) for character in text])
    wrong = draw.random(len(codes)) < rate
    return "".join(map(chr, np.where(wrong, draw.integers(0x4E00, 0x4E00 + 2500, len(codes)), codes)))


def comparison(count: int, seed: int) -> Comparison:
    """Two systems over generated rows; its only figure is made up, as nothing about figures is measured here."""
    draw = np.random.default_rng(seed)
    texts = ["".join(map(chr, draw.integers(0x4E00, 0x4E00 + 2500, draw.integers(20, 61)))) for _ in range(count)]
    columns = {name: ["x"] * count for name in Provenance.model_fields} | {
        name: [f"{name}-{number}" for number in range(count)] for name in ("call_id", "caller_id")
    }
    columns["dialect"] = [DIALECTS[number % len(DIALECTS)] for number in range(count)]
    ids = [f"call-{number:06d}" for number in range(count)]
    sound = CallAudio(audio=tone(4.0))
    rows = Rows(ids, [sound] * count, [Transcript(text=text) for text in texts], columns, ids, ["test"] * count)
    figure = (Figure(score="cer", rows=count, clusters=count, estimate=0.06, low=0.05, high=0.07),)
    systems = tuple(
        System(
            ModelAddress(line=name, version="1", digest=ZERO, files={}, run_id="none"),
            figure,
            figure if number else (),
            None,
            tuple(Answer(target=Transcript(text=heard(draw, text, rate)), confidence=0.9) for text in texts),
        )
        for number, (name, rate) in enumerate(zip(("champion", "candidate"), ERROR_RATES, strict=True))
    )
    return Comparison(TRANSCRIPTION.name, {}, ZERO, ZERO, count, systems, TRANSCRIPTION, rows)


def opened(path: Path, browser: str) -> tuple[float, float]:
    """Seconds until the page is ready, and until a filter has been applied, the slowest of TABS."""
    from playwright.sync_api import sync_playwright

    opening, filtering = [], []
    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        for _ in range(TABS):
            tab = started.new_page()
            began = time.perf_counter()
            tab.goto(path.as_uri())
            tab.wait_for_selector("body[data-ready]")
            opening.append(time.perf_counter() - began)
            began = time.perf_counter()
            tab.select_option("#by-dialect", DIALECTS[-1])
            tab.locator("#list article").first.wait_for()
            filtering.append(time.perf_counter() - began)
            tab.close()
        started.close()
    return max(opening), max(filtering)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--browser", default=shutil.which("chromium") or "chromium")
    options = parser.parse_args()
    text = page.render(comparison(options.rows, options.seed), Site(), [Background(), Background()], clips=0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "page.html"
        path.write_text(text, encoding="utf-8")
        opening, filtering = opened(path, options.browser)
    found = {"page_mib": len(text.encode()) / 2**20, "open_seconds": opening, "filter_seconds": filtering}
    table = Table(title=f"a comparison of {options.rows:,} rows in Chromium")
    table.add_column("")
    table.add_column("", justify="right")
    for name, value in found.items():
        table.add_row(name.replace("_", " "), f"{value:.2f}")
    Console().print(table)
    print(json.dumps({name: round(value, 3) for name, value in found.items()}))


if __name__ == "__main__":
    main()

"""The page of a comparison, as an evaluator meets it: in a browser, from a file, without a network."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.snapshot import Rows
from evaluation import page, review, sheets
from evaluation.compare import Comparison, System, compare
from evaluation.measure import differences, measure
from evaluation.page_background import Background, Site
from hotline import registry
from hotline.audio import tone
from hotline.records import Figure, ModelAddress
from hotline.settings import Settings
from hotline.task import Answer, Provenance, Task
from hotline.tasks.speech.transcription import TRANSCRIPTION, CallAudio, Transcript
from hotline.tasks.tickets.ticket_category import TICKET_CATEGORY, Category, TicketText

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
DIALECTS = ("cmn", "yue-hongkong", "cmn-sichuan")
SENTENCES = (
    "我想反映小区门口的路灯坏了三天",
    "地铁站旁边的井盖松动请派人来看",
    "医保卡丢了应该去哪里补办",
    "楼上装修到半夜影响休息",
)
ROWS, WORST = 90, 31
"""Row 31 is of the second dialect: nothing of it is heard by the second version."""
ZERO = "0" * 64


def _rows(inputs: Sequence[Any], targets: Sequence[Any], columns: dict[str, list[str]]) -> Rows:
    count = len(inputs)
    numbered = {name: [f"{name}-{number}" for number in range(count)] for name in ("call_id", "caller_id")}
    fixed = {name: ["x"] * count for name, info in Provenance.model_fields.items() if info.annotation is not float}
    ids = [f"row-{number:05d}" for number in range(count)]
    clusters = [f"cluster-{number}" for number in range(count)]
    return Rows(ids, list(inputs), list(targets), fixed | numbered | columns, clusters, ["test"] * count)


def _system(line: str, answers: Sequence[Answer], figures: Sequence[Figure], changes: Sequence[Figure]) -> System:
    address = ModelAddress(line=line, version="1", digest=ZERO, files={}, run_id="run")
    return System(address, tuple(figures), tuple(changes), None, tuple(answers))


def _comparison(task: Task, rows: Rows, a: Sequence[Answer], b: Sequence[Answer]) -> Comparison:
    changes = differences(task, rows.targets, a, b, rows)
    first = _system("champion", a, measure(task, rows.targets, a, rows), ())
    second = _system("candidate", b, measure(task, rows.targets, b, rows), changes)
    directions = {name: score.higher_is_better for name, score in task.scores.items()}
    return Comparison(task.name, directions, ZERO, rows.digest, len(rows), (first, second), task, rows)


def _transcripts(count: int) -> tuple[Rows, list[Answer], list[Answer]]:
    """The second version drops a character of every fifth row, and all of WORST."""
    texts = [f"{SENTENCES[number % len(SENTENCES)]}{chr(0x4E00 + number)}。" for number in range(count)]
    dialects = [DIALECTS[number % len(DIALECTS)] for number in range(count)]
    targets = [Transcript(text=text, dialect=dialect) for text, dialect in zip(texts, dialects, strict=True)]
    heard = [text[1:] if number % 5 == 0 else text for number, text in enumerate(texts)]
    heard[WORST] = ""
    brief, usual = CallAudio(audio=tone(0.3)), CallAudio(audio=tone(5.0))
    inputs = [brief if number == WORST else usual for number in range(count)]
    rows = _rows(inputs, targets, {"dialect": dialects})
    said = [[Answer(target=Transcript(text=text), confidence=0.8) for text in given] for given in (texts, heard)]
    return rows, said[0], said[1]


def _tickets(count: int) -> tuple[Rows, list[Answer], list[Answer]]:
    labels = [
        f"城市管理/市容/事项{number % 7}" if number % 3 else f"公用事业/供水/事项{number % 5}"
        for number in range(count)
    ]
    inputs = [TicketText(text=f"{SENTENCES[number % len(SENTENCES)]}，第{number}次反映") for number in range(count)]
    regions = [f"区域{number % 6}" for number in range(count)]
    rows = _rows(inputs, [Category(label=label) for label in labels], {"region": regions})
    b = [labels[(number + 1) % count] if number % 9 == 0 else label for number, label in enumerate(labels)]
    said = [[Answer(target=Category(label=label), confidence=0.75) for label in given] for given in (labels, b)]
    return rows, said[0], said[1]


def _counts(tab: Any, rows: str) -> None:
    """Waits until so many rows are left: a search begins when typing pauses."""
    from playwright.sync_api import expect

    expect(tab.locator("#count")).to_have_text(rows)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A real one, without a window."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no Chromium here: none of {', '.join(BROWSERS)} is on the path")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Opens a page's text from a file, and afterwards says that it asked nothing of the network and made no error."""
    context = browser.new_context(locale="en-US", viewport={"width": 1200, "height": 900})
    asked: list[str] = []
    wrong: list[str] = []

    def open_page(text: str) -> Any:
        path = tmp_path / "page.html"
        path.write_text(text, encoding="utf-8")
        tab = context.new_page()
        tab.on("request", lambda request: asked.append(request.url))
        tab.on("pageerror", lambda error: wrong.append(str(error)))
        tab.goto(path.as_uri())
        tab.wait_for_selector("body[data-ready]")
        return tab

    yield open_page
    context.close()
    assert not wrong
    assert {url.partition(":")[0] for url in asked} <= {"file", "data", "blob"}


@pytest.fixture(scope="module")
def calls() -> str:
    """The page of two recognisers, with four clips."""
    comparison = _comparison(TRANSCRIPTION, *_transcripts(ROWS))
    return page.render(comparison, Site("here", "demo"), [Background(), Background()], clips=4)


def test_the_worst_regression_comes_first(opened: Callable[..., Any], calls: str) -> None:
    tab = opened(calls)
    first = tab.locator("#list article").first
    assert first.get_attribute("data-id") == f"row-{WORST:05d}"
    assert "worse" in first.inner_text()
    assert first.locator(".del").count() == 1
    assert tab.locator("#count").inner_text() == str(ROWS)


def test_rows_are_filtered_by_dialect_kind_and_words(opened: Callable[..., Any], calls: str) -> None:
    tab = opened(calls)
    tab.select_option("#by-dialect", "cmn-sichuan")
    assert tab.locator("#count").inner_text() == str(ROWS // len(DIALECTS))
    chips = tab.locator("#list article .chip").all_inner_texts()
    assert set(DIALECTS) & set(chips) == {"cmn-sichuan"}
    tab.select_option("#kind", "worse")
    assert tab.locator("#count").inner_text() == str(ROWS // 15)
    tab.select_option("#by-dialect", "")
    tab.select_option("#kind", "all")
    tab.fill("#search", "医保卡")
    _counts(tab, "22")
    tab.select_option("#kind", "better")
    assert "No row fits" in tab.locator("#list").inner_text()


def _heard(tab: Any, number: int) -> bool:
    found = f"document.querySelectorAll('#list audio')[{number}]"
    for _ in range(100):
        if tab.evaluate(f"() => !{found}.error && ({found}.ended || {found}.currentTime > 0)"):
            return True
        tab.wait_for_timeout(100)
    return False


def test_recordings_are_played_by_key_the_shortest_ones_too(opened: Callable[..., Any], calls: str) -> None:
    tab = opened(calls)
    assert tab.locator("#list audio").count() == 4
    for number in range(2):
        tab.keyboard.press("j")
        tab.keyboard.press("p")
        assert _heard(tab, number)


def test_both_languages_name_the_same_figures(opened: Callable[..., Any], calls: str) -> None:
    tab = opened(calls)
    assert "is worse than" in tab.locator("#summary").inner_text()
    figure = tab.locator("#summary .number").first.inner_text()
    tab.select_option("#by-dialect", "cmn")
    tab.click("#language")
    assert "差于" in tab.locator("#summary").inner_text()
    assert tab.locator("#summary .number").first.inner_text() == figure
    assert tab.locator("#count").inner_text() == str(ROWS // len(DIALECTS)), "filters stay"


def test_a_slice_of_the_forest_opens_its_rows(opened: Callable[..., Any], calls: str) -> None:
    tab = opened(calls)
    tab.click("#slices button:text-is('yue-hongkong')")
    assert tab.input_value("#by-dialect") == "yue-hongkong"
    assert tab.locator("#count").inner_text() == str(ROWS // len(DIALECTS))


def test_a_confusion_of_the_label_tree_opens_its_rows(opened: Callable[..., Any]) -> None:
    tab = opened(page.render(_comparison(TICKET_CATEGORY, *_tickets(180)), Site(), [Background(), Background()]))
    taken = tab.locator("#labels table button").first
    assert "→" in taken.inner_text()
    taken.click()
    assert 0 < int(tab.locator("#count").inner_text()) < 180
    assert tab.locator("#labels .tree details").count() >= 2
    assert tab.locator("#labels figure svg circle").count() >= 2, "reliability"


def test_the_page_fits_a_narrow_screen(opened: Callable[..., Any], calls: str) -> None:
    tab = opened(calls)
    tab.set_viewport_size({"width": 360, "height": 700})
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360


def test_ten_thousand_rows_are_one_small_page(opened: Callable[..., Any]) -> None:
    rows, a, b = _transcripts(10_000)
    figures = (Figure(score="cer", rows=10_000, clusters=10_000, estimate=0.01, low=0.0, high=0.02),)
    systems = (_system("champion", a, figures, ()), _system("candidate", b, figures, figures))
    comparison = Comparison(TRANSCRIPTION.name, {}, ZERO, rows.digest, len(rows), systems, TRANSCRIPTION, rows)
    text = page.render(comparison, Site(), [Background(), Background()], clips=0)
    assert len(text.encode()) < 20 << 20
    tab = opened(text)
    assert tab.locator("#list article").first.get_attribute("data-id") == f"row-{WORST:05d}"
    tab.select_option("#by-dialect", "yue-hongkong")
    assert tab.locator("#count").inner_text() == "3,333"


def test_a_blind_sheet_is_answered_by_keys_and_saved_as_a_table(browser: Any, tmp_path: Path) -> None:
    made = sheets.export(_comparison(TRANSCRIPTION, *_transcripts(ROWS)), "review", tmp_path / "pairs.html", 3, seed=1)
    text = made.sheet.read_text(encoding="utf-8")
    assert "candidate" not in text and "champion" not in text
    tab = browser.new_page(locale="en-US")
    tab.goto(made.sheet.as_uri())
    tab.wait_for_selector("body[data-ready]")
    assert tab.locator("audio").count() == 1
    for key in ("1", "2", "0"):
        tab.keyboard.press(key)
    assert tab.locator("#done").inner_text() == "3 answered"
    with tab.expect_download() as saved:
        tab.click("#save")
    saved.value.save_as(tmp_path / "answers.csv")
    found = review.read(tmp_path / "answers.csv", made.key)
    assert (found.items, found.ties) == (3, 1)
    tab.close()


def test_what_a_caller_says_is_text_and_never_markup(opened: Callable[..., Any]) -> None:
    rows, a, b = _tickets(30)
    nasty = "</script><img src=x onerror=alert(1)><b id=bold>"
    inputs = [TicketText(text=nasty), *rows.inputs[1:]]
    comparison = _comparison(TICKET_CATEGORY, Rows(**{**vars(rows), "inputs": inputs}), a, b)
    tab = opened(page.render(comparison, Site(), [Background(), Background()]))
    tab.fill("#search", "onerror")
    _counts(tab, "1")
    assert nasty in tab.locator("#list").inner_text()
    assert tab.locator("#bold").count() == 0


def test_a_real_comparison_shows_verdict_run_and_curves(
    opened: Callable[..., Any], workspace: Settings, champion: ModelAddress, tmp_path: Path
) -> None:
    runs = registry.connect(workspace.tracking_uri)
    runs.log_metric(champion.run_id, "validation/entity_cer", float("nan"))  # no row has entities
    comparison = compare(workspace, TICKET_CATEGORY, [champion, champion], progress=False)
    assert "answers" not in comparison.as_dict()["systems"][0]
    path = page.write(workspace, comparison, tmp_path / "real.html")
    tab = opened(path.read_text(encoding="utf-8"))
    verdict = tab.locator("#verdicts").inner_text()
    for word in ("champion", champion.run_id, "ledger entry", champion.digest[:12]):
        assert word in verdict
    assert tab.locator("#training polyline").count() >= 2
    assert "is not shown to differ from" in tab.locator("#summary").inner_text()
    default = page.write(workspace, comparison, clips=0)
    assert default.parent == workspace.workspace / "evaluation" / "comparisons"
    assert np.isclose(default.stat().st_size, path.stat().st_size, rtol=0.01)

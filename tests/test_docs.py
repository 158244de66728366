"""Docs that cannot lie."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipelines.tasks_page import page

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "README.zh.md", *(ROOT / "docs").rglob("*.md")])


def test_the_tasks_page_is_what_the_declarations_say() -> None:
    assert (ROOT / "docs" / "tasks.md").read_text(encoding="utf-8") == page(), (
        "hotline tasks --markdown > docs/tasks.md"
    )


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", path.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://")):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_commands_in_docs_exist(path: Path) -> None:
    from typer.main import get_command

    from pipelines.cli import app

    verbs = set(get_command(app).commands)  # type: ignore[attr-defined]
    named = set(re.findall(r"(?:^|`)\s*hotline (?:--workspace \S+ )?([a-z]+)", path.read_text(encoding="utf-8"), re.M))
    assert named <= verbs, named - verbs


def test_decisions_are_at_most_sixty_lines() -> None:
    long = [path.name for path in (ROOT / "docs" / "decisions").glob("*.md") if path.read_text().count("\n") > 60]
    assert not long

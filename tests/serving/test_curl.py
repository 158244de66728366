"""The curl commands of the guides, run as they stand against the live endpoints."""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path

import httpx
import pytest
import soundfile

from hotline.audio import tone

ROOT = Path(__file__).resolve().parents[2]
SHOWN_AT = "http://127.0.0.1:8000"
PAGES = ("README.md", "README.zh.md", "docs/api.md", "docs/api.zh.md", "docs/guide.md", "docs/guide.zh.md")
QUIET = "curl --fail-with-body --silent --show-error --noproxy '*' "


def commands(page: str) -> list[str]:
    """Every curl command in the page's shell blocks, continued lines joined."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.startswith("curl ")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files that the commands send."""
    for name in ("call.wav", "call.mp3"):
        soundfile.write(tmp_path / name, tone(1.0, 16_000).samples, 16_000)
    (tmp_path / "tickets.jsonl").write_text(json.dumps({"text": "门口的路灯坏了"}) + "\n")
    return tmp_path


def run(command: str, folder: Path, endpoint: str) -> str:
    line = command.replace("curl ", QUIET, 1).replace(SHOWN_AT, endpoint)
    said = subprocess.run(["bash", "-c", line], cwd=folder, capture_output=True, text=True, check=False)
    assert said.returncode == 0, (command, said.stdout, said.stderr)
    return said.stdout


def test_the_guides_show_curl() -> None:
    assert sum(len(commands(page)) for page in PAGES) >= 10


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)])
def test_curl_is_answered_as_the_page_shows_it(endpoint: str, http: httpx.Client, folder: Path, page: str) -> None:
    job = ""
    for command in commands(page):
        give_up = time.monotonic() + 60
        while "/result" in command and http.get(f"/v1/jobs/{job}").json()["status"] != "done":
            assert time.monotonic() < give_up
            time.sleep(0.1)
        said = run(re.sub(r"\bID\b", job, command), folder, endpoint)
        if said.startswith('{"id"') and "/v1/jobs" in command:
            job = json.loads(said)["id"]
    if job:
        assert (folder / "answers.jsonl").read_text(encoding="utf-8").count("\n") == 1

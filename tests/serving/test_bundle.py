"""A bundle is what was packed, signed, and enough by itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hotline import keys
from hotline.errors import InputError, IntegrityError, RefusedError
from pipelines import bundle

if TYPE_CHECKING:
    from tests.serving.conftest import Site

ON_PATH = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
ALONE = shutil.which("unshare") is not None and os.geteuid() == 0


@pytest.fixture(scope="module")
def made(live_site: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of a site with champions."""
    folder = tmp_path_factory.mktemp("made") / "bundle"
    bundle.make(live_site.settings, folder, wheels=False)
    return folder


@pytest.fixture
def packed(made: Path, tmp_path: Path) -> Path:
    """A copy of it, free to be edited."""
    return Path(shutil.copytree(made, tmp_path / "bundle"))


def test_a_bundle_holds_the_champions_and_no_private_key(packed: Path, live_site: Site) -> None:
    champions = live_site.ledger.read().champions()
    models = {task: champion.record.model for task, champion in champions.items()}
    assert models
    assert bundle.check(packed)["serves"] == {task: f"{model.line}@{model.version}" for task, model in models.items()}
    for model in models.values():
        assert (packed / ".hotline" / "verified" / model.digest).is_dir()
    secrets = [path.read_text().strip() for path in live_site.settings.keys.glob("*.key")]
    assert secrets
    for path in packed.rglob("*"):
        assert path.is_dir() or not any(secret.encode() in path.read_bytes() for secret in secrets)


def flipped(packed: Path) -> str:
    path = next((packed / ".hotline" / "verified").rglob("*.safetensors"))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    return path.name


def test_a_flipped_byte_is_named_and_nothing_starts(packed: Path) -> None:
    name = flipped(packed)
    with pytest.raises(IntegrityError, match=name):
        bundle.check(packed)
    done = subprocess.run([packed / "start.sh"], env=ON_PATH, capture_output=True, text=True, check=False)
    assert done.returncode == IntegrityError.exit_code
    assert name in done.stdout + done.stderr
    assert "not the one that was packed" in done.stderr


def test_a_bundle_whose_sums_were_edited_too_is_refused_by_its_signature(packed: Path) -> None:
    flipped(packed)
    stranger = keys.create(packed.parent / "stranger", "operator")
    bundle._sign(packed, stranger, {"site": "test", "ledger": "", "serves": {}})
    with pytest.raises(IntegrityError, match="signed by somebody else"):
        bundle.check(packed)


def test_whoever_swaps_the_signers_too_meets_the_pinned_key(packed: Path, live_site: Site) -> None:
    right = keys.load(live_site.settings.keys, "operator").public
    assert bundle.check(packed, right)["signer"] == right
    with pytest.raises(IntegrityError, match="signed by somebody else"):
        bundle.check(packed, "0" * 64)


def test_an_added_file_and_an_edited_manifest_are_named(packed: Path) -> None:
    path = packed / "bundle.json"
    path.write_text(path.read_text().replace("tickets@", "other@"))
    with pytest.raises(IntegrityError, match=r"bundle\.json was edited"):
        bundle.check(packed)
    (packed / "policy" / "more.yaml").write_text("{}")
    with pytest.raises(IntegrityError, match="a file was added"):
        bundle.check(packed)


def test_a_site_without_champions_has_nothing_to_pack(site: Site, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="nothing to pack"):
        bundle.make(site.settings, tmp_path / "empty", wheels=False)


def test_a_folder_with_files_is_not_overwritten(packed: Path, live_site: Site) -> None:
    with pytest.raises(InputError, match="not empty"):
        bundle.make(live_site.settings, packed, wheels=False)


@pytest.mark.slow
@pytest.mark.skipif(not ALONE, reason="a network namespace needs root and unshare")
def test_a_bundle_answers_where_there_is_no_network(packed: Path, free_port: int, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port}"
    script = f"""ip link set lo up && cd {packed} && (./start.sh & echo $! > {tmp_path}/pid)
    for i in $(seq 120); do curl -sf {url}/readyz && break; sleep 1; done
    curl -s {url}/v1/tasks/ticket_category --json '{{"text": "路灯坏了三天"}}' > {tmp_path}/answer
    kill -TERM $(cat {tmp_path}/pid); wait"""
    environment: dict[str, Any] = {**ON_PATH, "HOTLINE_PORT": str(free_port)}
    subprocess.run(["unshare", "--net", "bash", "-c", script], env=environment, check=False, timeout=300)
    assert '"confidence"' in (tmp_path / "answer").read_text()
    until = time.monotonic() + 60
    while subprocess.run(["pgrep", "-f", str(packed)], check=False, capture_output=True).stdout:
        assert time.monotonic() < until
        time.sleep(1)
    bundle.check(packed)  # serving changes nothing that was packed

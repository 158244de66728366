"""A version is its bytes: registered once, checked on every copy; the alias only mirrors. Real MLflow on SQLite."""

from __future__ import annotations

import socket
import stat
from pathlib import Path
from typing import Any

import pytest

from hotline import digests, registry, settings
from hotline.errors import IntegrityError, UnavailableError, UnknownName
from hotline.records import ModelAddress

TASK, SITE = "ticket_category", "示範 hotline.12345"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return registry.connect(f"sqlite:///{tmp_path_factory.mktemp('store') / 'mlflow.db'}")


@pytest.fixture
def run_id(client: Any, tmp_path: Path) -> str:
    return str(client.create_run(client.create_experiment(tmp_path.name, (tmp_path / "store").as_uri())).info.run_id)


@pytest.fixture
def line(tmp_path: Path) -> str:
    return f"line-{tmp_path.name}"


def made(folder: Path, content: bytes = b"weights") -> Path:
    (folder / "tokenizer").mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_bytes(content)
    (folder / "tokenizer" / "vocabulary.json").write_text("{}")
    return folder


def source(client: Any, address: ModelAddress) -> Path:
    return Path(client.get_model_version(address.line, address.version).source.removeprefix("file://"))


def test_the_same_bytes_on_the_same_line_are_the_same_version(
    client: Any, run_id: str, line: str, tmp_path: Path
) -> None:
    first = registry.register(client, line, run_id, made(tmp_path / "a"), {"hotline.task": TASK})
    again = registry.register(client, line, run_id, made(tmp_path / "b"), {"hotline.task": TASK})
    other = registry.register(client, line, run_id, made(tmp_path / "c", b"others"), {"hotline.task": TASK})
    assert first == again
    assert (first.version, other.version) == ("1", "2")
    assert first.digest == digests.merkle_root(digests.of_files(tmp_path / "a")) != other.digest
    assert registry.recheck(client, first) is registry.recheck(client, other) is None  # one run, nothing overwritten
    assert [version["version"] for version in registry.versions(client, line)] == ["2", "1"]


def test_a_copy_is_private_read_only_and_made_once(client: Any, run_id: str, line: str, tmp_path: Path) -> None:
    address = registry.register(client, line, run_id, made(tmp_path / "a"), {})
    copy = registry.fetch(client, address, tmp_path / "verified")
    assert digests.of_files(copy) == address.files
    assert stat.S_IMODE((copy / "model.safetensors").stat().st_mode) == 0o444
    source(client, address).joinpath("model.safetensors").write_bytes(b"changed afterwards")
    assert registry.fetch(client, address, tmp_path / "verified") == copy
    assert (copy / "model.safetensors").read_bytes() == b"weights"


@pytest.mark.parametrize("place", range(len(b"weights")))
def test_one_flipped_bit_is_named(client: Any, run_id: str, line: str, tmp_path: Path, place: int) -> None:
    address = registry.register(client, line, run_id, made(tmp_path / "a"), {})
    weights = source(client, address) / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[place] ^= 1
    weights.write_bytes(content)
    with pytest.raises(IntegrityError, match=r"where: +model\.safetensors\n"):
        registry.fetch(client, address, tmp_path / "verified")
    assert not (tmp_path / "verified" / address.digest).exists()
    with pytest.raises(IntegrityError, match="not those that were registered"):
        registry.address(client, line, address.version)


def test_added_and_removed_files_are_named(client: Any, run_id: str, line: str, tmp_path: Path) -> None:
    address = registry.register(client, line, run_id, made(tmp_path / "a"), {})
    (source(client, address) / "tokenizer" / "vocabulary.json").rename(source(client, address) / "moved.json")
    with pytest.raises(IntegrityError, match=r"moved\.json, tokenizer/vocabulary\.json"):
        registry.recheck(client, address)


def test_an_edited_private_copy_is_named(client: Any, run_id: str, line: str, tmp_path: Path) -> None:
    address = registry.register(client, line, run_id, made(tmp_path / "a"), {})
    weights = registry.fetch(client, address, tmp_path / "verified") / "model.safetensors"
    weights.chmod(0o644)
    weights.write_bytes(b"other")
    with pytest.raises(IntegrityError, match=r"model\.safetensors"):
        registry.fetch(client, address, tmp_path / "verified")


def test_a_record_whose_digest_does_not_fit_its_files_is_refused(tmp_path: Path) -> None:
    folder = made(tmp_path / "a")
    forged = ModelAddress(line="l", version="1", digest="0" * 64, files=digests.of_files(folder), run_id="r")
    with pytest.raises(IntegrityError, match="the record's own digest"):
        registry.check(folder, forged)


def test_an_address_is_read_back_from_the_registry(client: Any, run_id: str, line: str, tmp_path: Path) -> None:
    address = registry.register(client, line, run_id, made(tmp_path / "a"), {registry.TASK_TAG: TASK})
    assert registry.address(client, line, "1") == ([TASK], address)


def test_a_version_that_is_not_there_is_unknown(client: Any, run_id: str, line: str, tmp_path: Path) -> None:
    address = registry.register(client, line, run_id, made(tmp_path / "a"), {})
    for absent in (address.model_copy(update={"version": "99"}), address.model_copy(update={"line": "nobody"})):
        with pytest.raises(UnknownName, match="hotline versions"):
            registry.fetch(client, absent, tmp_path / "verified")
        with pytest.raises(UnknownName):
            registry.address(client, absent.line, absent.version)


def test_the_alias_follows_the_champion_to_another_line(client: Any, run_id: str, line: str, tmp_path: Path) -> None:
    first = registry.register(client, f"{line}-a", run_id, made(tmp_path / "a"), {})
    second = registry.register(client, f"{line}-b", run_id, made(tmp_path / "b"), {})
    for address in (first, second, second):
        registry.mirror_champion(client, TASK, SITE, address)
        assert registry.mirrored_champions(client, TASK, SITE) == {address.line: address.version}


def test_an_alias_moved_by_hand_shows(client: Any, run_id: str, line: str, tmp_path: Path) -> None:
    first = registry.register(client, line, run_id, made(tmp_path / "a"), {})
    second = registry.register(client, line, run_id, made(tmp_path / "b", b"second"), {})
    registry.mirror_champion(client, TASK, "elsewhere", second)
    client.set_registered_model_alias(line, registry.champion_alias(TASK, "elsewhere"), first.version)
    assert registry.mirrored_champions(client, TASK, "elsewhere") == {line: first.version}


def test_connecting_to_one_store_does_not_change_where_another_workspace_looks(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name / "policy").mkdir(parents=True)
        (tmp_path / name / "policy" / "site.yaml").write_text("schema_version: 1\nsite: s\nprofile: demo\n")
    registry.connect(settings.load(tmp_path / "a").tracking_uri)
    assert settings.load(tmp_path / "b").tracking_uri == f"sqlite:///{tmp_path / 'b' / '.hotline' / 'mlflow.db'}"


def test_a_server_that_does_not_answer_is_named_at_once() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(UnavailableError, match=f"127.0.0.1:{port}"):
        registry.connect(f"http://127.0.0.1:{port}")


def test_a_store_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("this is no database " * 100)
    with pytest.raises(UnavailableError, match="hotline doctor"):
        registry.connect(f"sqlite:///{tmp_path / 'mlflow.db'}")

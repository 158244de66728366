"""Checkpoints are whole or they are none; what is torn is named and skipped."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from hotline.errors import IntegrityError, RefusedError, UnknownName
from training import checkpoint
from training.checkpoint import Found, Header, Store

HEADER = Header(
    step=0,
    epoch=0,
    position=0,
    ranks=1,
    zero_stage=None,
    snapshot="a" * 64,
    recipe="b" * 64,
    plan="c" * 64,
    shapes={"head.weight": (4, 2)},
)


def written(store: Store, step: int, content: bytes = b"state") -> Path:
    partial = store.begin(step)
    (partial / "state").write_bytes(content)
    return store.publish(partial, HEADER.model_copy(update={"step": step}))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "recipe" / "run", keep=2)


def there(store: Store) -> list[int]:
    return sorted(int(each.name.removeprefix("step-")) for each in store.folder.glob("step-*"))


def test_the_newest_whole_one_is_found_with_its_cursor(store: Store) -> None:
    written(store, 10)
    written(store, 20)
    assert checkpoint.latest(store.folder.parent).header.step == 20


@pytest.mark.parametrize("harm", ["cut", "changed", "gone", "no header"])
def test_a_torn_one_is_named_and_skipped(store: Store, harm: str, caplog: pytest.LogCaptureFixture) -> None:
    written(store, 10)
    newest = written(store, 20)
    if harm == "cut":
        os.truncate(newest / "state", 2)
    elif harm == "changed":
        (newest / "state").write_bytes(b"other")
    elif harm == "gone":
        (newest / "state").unlink()
    else:
        (newest / "checkpoint.json").write_text("{")
    assert checkpoint.latest(store.folder.parent).header.step == 10
    assert f"{newest} is torn and skipped" in caplog.text


def test_what_was_being_written_is_no_checkpoint(store: Store) -> None:
    written(store, 10)
    (store.begin(20) / "state").write_bytes(b"half")
    assert checkpoint.latest(store.folder.parent).header.step == 10


def test_the_last_ones_and_the_best_stay(store: Store) -> None:
    for step, loss in ((10, 3.0), (20, 1.0), (30, 2.0), (40, 2.5), (50, 1.5)):
        written(store, step)
        store.score(step, loss)
    assert there(store) == [20, 40, 50]


def test_a_finished_run_has_nothing_to_resume_and_goes_when_a_new_one_starts(store: Store) -> None:
    written(store, 10)
    other = Store(store.folder.parent / "other", keep=2)
    written(other, 10)
    store.finish()
    assert checkpoint.unfinished(store.folder.parent) == [other.folder]
    checkpoint.forget_finished(store.folder.parent)
    assert not store.folder.exists()
    other.finish()
    with pytest.raises(UnknownName, match="no unfinished run"):
        checkpoint.latest(store.folder.parent)


@pytest.mark.parametrize("name", ["snapshot", "recipe", "plan"])
def test_another_snapshot_or_recipe_refuses_unless_told_to(name: str, tmp_path: Path) -> None:
    found, now = Found(tmp_path, HEADER), HEADER.model_copy(update={name: "d" * 64})
    with pytest.raises(RefusedError, match=f"the {name} changed"):
        checkpoint.check(found, now, anyway=False)
    checkpoint.check(found, now, anyway=True)


def test_another_model_refuses_whatever_was_told_and_names_a_tensor(tmp_path: Path) -> None:
    now = HEADER.model_copy(update={"shapes": {"head.weight": (5, 2)}})
    with pytest.raises(IntegrityError, match=r"1 tensors differ[\s\S]*head.weight \(4, 2\)"):
        checkpoint.check(Found(tmp_path, HEADER), now, anyway=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Path:
    """A file system of a megabyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=False).returncode:
        pytest.skip("a file system cannot be mounted here")
    yield folder  # type: ignore[misc]
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_leaves_the_last_good_checkpoint(small_disk: Path) -> None:
    store = Store(small_disk / "recipe" / "run", keep=2)
    written(store, 10, b"x" * 500_000)
    with pytest.raises(OSError, match="No space left"):
        written(store, 20, b"x" * 900_000)
    found = checkpoint.latest(store.folder.parent)
    assert found.header.step == 10
    assert (found.folder / "state").stat().st_size == 500_000

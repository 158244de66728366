"""`hotline import`: read, map, de-identify, type, check labels, cluster, split, hold to the contract, store.

Rows in = kept + quarantined, always; kept = new + updated + unchanged.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import pyarrow as pa

from data import columns, contract, placement, quarantine, splits, store
from data import mapping as mappings
from data.audio_import import Reader, Track
from data.audio_shards import Staging
from data.drafts import Draft, Drafter
from data.recordings import listing_digest, open_delivery
from data.report import ImportReport
from data.snapshot import Snapshot
from data.tables import file_digest, read_table
from hotline import digests, keys, policy
from hotline.errors import ContractError, InputError, IntegrityError
from hotline.labels import LabelTree
from hotline.settings import Settings
from hotline.task import Task

Progress = Callable[[str], None]
"""Told what begins: a stage in words."""
KEY_NAME = "privacy"
_SHOWN_ROWS = 5


def import_table(
    settings: Settings,
    task: Task,
    mapping: mappings.Mapping,
    files: Sequence[Path] = (),
    *,
    progress: Progress = lambda stage: None,
    track: Track = lambda items, total, what: items,
) -> ImportReport:
    """Import `files`, or those that the mapping names, as one new snapshot of the task's corpus.

    For a task about sound a file is a folder or a zip of recordings. Raises InputError for files and mappings that
    cannot be used, ContractError when too many rows are quarantined, a given split has someone on two sides, or the
    table breaks the contract. Nothing is stored then.
    """
    if task.corpus_name != task.name:
        raise InputError(
            f"the rows of {task.name} are those of {task.corpus_name}", next=f"hotline import {task.corpus_name}"
        )
    mapping.check(task)
    chosen = list(files) or mapping.default_files()
    if not chosen:
        raise InputError("which file?", expected="files on the command line, or `files:` in the mapping")
    with store.lock(settings, task):
        previous = store.current(settings, task)
        stored = previous.sounds if previous and previous.sounds else ()
        with Staging(store.corpus_folder(settings, task), stored) as staging:
            return _Import(settings, task, mapping, chosen, progress, track, staging).run(previous)


class _Import:
    """One import, a step after the other over the same drafts."""

    def __init__(
        self,
        settings: Settings,
        task: Task,
        mapping: mappings.Mapping,
        files: Sequence[Path],
        progress: Progress,
        track: Track,
        staging: Staging,
    ) -> None:
        self.settings, self.task, self.mapping, self.files, self.progress = settings, task, mapping, files, progress
        self.site = policy.load(settings.workspace).site
        self.key = keys.secret(settings.keys, KEY_NAME)
        self.staging = staging
        drafter = Drafter(task, mapping, self.key, {"site": self.site})
        self.drafter, self.reader = drafter, Reader(task, drafter, staging, track) if task.audio_field else None
        self.drafts: list[Draft] = []
        self.sources: list[tuple[str, str]] = []
        """Name and digest of what was read."""
        self.quarantine_path = settings.quarantine / task.name / f"{self._name()}.jsonl"

    def run(self, previous: Snapshot | None) -> ImportReport:
        self._read()
        tree = self._check_labels(previous)
        self._refuse_repeated_ids()
        known = placement.known(self.task, previous)
        changed = [draft for draft in self._good() if known.content.get(draft.id) != _content(draft)]
        self.progress(f"near duplicates among {len(known.texts) + len(changed)} rows")
        folder = store.corpus_folder(self.settings, self.task)
        placement.place(self.task, self.mapping, changed, known, folder)
        bad = [draft for draft in self.drafts if draft.reasons]
        written = quarantine.write(self.quarantine_path, bad, self.mapping, self.key)
        quarantine.refuse_too_many(self.task, self.mapping, len(self.drafts), bad, self.quarantine_path)
        changed = [draft for draft in changed if not draft.reasons]
        table = pa.Table.from_pylist([draft.values for draft in changed], schema=columns.schema(self.task))
        for draft in self.drafts:
            draft.release()
        self.progress("the contract")
        whole = pa.concat_tables(store.cut(previous, table))
        checked = contract.validate(self.task, tree, whole, self.settings.workspace / "data" / "reports")
        manifest = store.commit(
            self.settings,
            self.task,
            previous,
            table,
            tree,
            self._summaries(),
            self.site,
            dict(splits.FRACTIONS),
            self.staging,
        )
        updated = sum(draft.id in known.content for draft in changed)
        sizes = Counter(whole.column("cluster").to_pylist())
        return self._counted(
            ImportReport(
                task=self.task.name,
                snapshot=manifest.digest,
                rows_in=len(self.drafts),
                kept=len(self._good()),
                quarantined=len(bad),
                new=len(changed) - updated,
                updated=updated,
                unchanged=len(self._good()) - len(changed),
                rows=manifest.rows,
                splits=manifest.splits,
                clusters=len(sizes),
                largest_cluster=max(sizes.values()),
                reasons=quarantine.kinds(bad),
                quarantine=str(written) if written else None,
                contract=str(checked.html),
                sound=self.reader.report(self._good()) if self.reader else None,
            )
        )

    def _name(self) -> str:
        """Of the import: the same files have the same name, so that a second import replaces its quarantine file."""
        known = (lambda file: listing_digest(open_delivery(file))) if self.reader else file_digest
        digest = digests.of_value([known(file) for file in self.files])
        return f"{self.files[0].resolve().name.split('.')[0]}-{digest[:12]}"

    def _good(self) -> list[Draft]:
        return [draft for draft in self.drafts if not draft.reasons]

    def _read(self) -> None:
        for file in self.files:
            self.progress(f"reading {file.name}")
            if self.reader:
                name, digest, drafts = self.reader.read(file)
                self.sources.append((name, digest))
                self.drafts += drafts
                continue
            table = read_table(file, self.mapping.named_columns())
            names = list(table.columns)
            rows = (dict(zip(names, row, strict=True)) for row in table.itertuples(index=False, name=None))
            self.sources.append((file.name, file_digest(file)))
            self.drafts += self.drafter.drafts(file.name, rows)
        if self.reader:
            self.reader.judge(self.drafts)
        if not self.drafts:
            raise InputError("there are no rows", where=", ".join(map(str, self.files)), next="check the file")

    def _check_labels(self, previous: Snapshot | None) -> LabelTree | None:
        """The label tree of the new snapshot; a row whose label is not in a given tree is quarantined."""
        if not self.task.label_field:
            return None
        column = f"target.{self.task.label_field}"
        stored = set(previous.table.column(column).to_pylist()) if previous else set()
        tree = self.mapping.tree()
        if tree is None:
            leaves = previous.tree.leaves if previous and previous.manifest.tree else ()
            return LabelTree.of([*leaves, *(draft.values[column] for draft in self._good())])
        gone = sorted(stored - set(tree.leaves))
        if gone:
            raise ContractError(
                f"{len(gone)} labels of stored rows are not in the label tree",
                where=str(self.mapping.path),
                found=", ".join(gone[:_SHOWN_ROWS]),
                expected=f"a tree that has them among its {len(tree.leaves)} leaves",
                next="add them to the tree, or relabel those rows first",
            )
        for draft in self._good():
            if draft.values[column] not in tree.index:
                draft.reasons.append(_not_in_tree(column, draft.values[column], tree))
        return tree

    def _refuse_repeated_ids(self) -> None:
        first: dict[str, Draft] = {}
        for draft in self._good():
            other = first.setdefault(draft.id, draft)
            if other is not draft:
                draft.reasons.append(f"id: repeated (row {other.number} of {other.file} has {draft.id} too)")

    def _summaries(self) -> list[store.ImportSummary]:
        summaries = []
        for name, digest in self.sources:
            mine = [draft for draft in self.drafts if draft.file == name]
            kept = sum(not draft.reasons for draft in mine)
            summaries.append(
                store.ImportSummary(
                    file=name,
                    sha256=digest,
                    batch=self.mapping.constants.get("label_batch", name),
                    rows_in=len(mine),
                    kept=kept,
                    quarantined=len(mine) - kept,
                )
            )
        return summaries

    def _counted(self, report: ImportReport) -> ImportReport:
        """The report, when its counts add up; anything else is our own fault and must not pass in silence."""
        if report.rows_in != report.kept + report.quarantined or report.kept != (
            report.new + report.updated + report.unchanged
        ):
            raise IntegrityError("an import lost count of its rows", found=report.as_dict())
        return report


def _content(draft: Draft) -> str:
    return columns.content_digest(draft.values)


def _not_in_tree(column: str, label: str, tree: LabelTree) -> str:
    near = _nearest(label, tree)
    hint = f" (nearest: {near})" if near else ""
    return f"{column}: found {label!r}{hint}, expected one of the {len(tree.leaves)} leaves of the label tree"


@cache
def _nearest(label: str, tree: LabelTree) -> str:
    return ", ".join(difflib.get_close_matches(label, tree.leaves, n=1, cutoff=0.4))

"""What an operator may sign about a version beside the champion."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from evaluation.promote import promote, rollback
from evaluation.trials import begin, withdraw
from hotline.errors import HotlineError, InputError, IntegrityError, RefusedError
from hotline.records import ModelAddress, Outcome, Trial
from hotline.tasks.tickets.ticket_category import TICKET_CATEGORY as TASK

Stage = Literal["shadow", "canary"]


def challenger(site: Any, outcome: Outcome = "passed") -> ModelAddress:
    """A judged version beside a champion."""
    first, second = site.version(), site.version()
    site.verdict(first)
    promote(site.settings, TASK, first, "first")
    site.verdict(second, outcome, previous=first.digest)
    return second  # type: ignore[no-any-return]


def test_a_version_goes_from_the_shadow_to_canary_to_champion(site: Any) -> None:
    second = challenger(site)
    for stage, share in (("shadow", 0.1), ("canary", 0.05)):
        entry = begin(site.settings, TASK, second, stage, share, "because")  # type: ignore[arg-type]
        assert isinstance(entry.record, Trial)
        assert (entry.record.stage, entry.record.share, entry.record.model) == (stage, share, second)
        found = site.ledger().read().challenger(TASK.name)
        assert found and found.entry == entry
    promote(site.settings, TASK, second, "good")
    assert site.ledger().read().challenger(TASK.name) is None
    assert rollback(site.settings, TASK, "after all").record.model != second


def test_a_version_that_lacks_evidence_may_only_be_in_the_shadow(site: Any) -> None:
    second = challenger(site, "insufficient evidence")
    assert begin(site.settings, TASK, second, "shadow", 0.5, "to learn more").record.model == second
    with pytest.raises(RefusedError, match="insufficient evidence"):
        begin(site.settings, TASK, second, "canary", 0.05, "please")


@pytest.mark.parametrize("stage", ["shadow", "canary"])
def test_a_failed_version_is_not_tried(site: Any, stage: Stage) -> None:
    with pytest.raises(RefusedError, match="failed"):
        begin(site.settings, TASK, challenger(site, "failed"), stage, 0.05, "please")


def test_without_a_champion_nothing_is_tried(site: Any) -> None:
    first = site.version()
    site.verdict(first)
    with pytest.raises(RefusedError, match="there is none"):
        begin(site.settings, TASK, first, "shadow", 0.1, "please")
    promote(site.settings, TASK, first, "first")
    with pytest.raises(RefusedError, match="it is the champion"):
        begin(site.settings, TASK, first, "shadow", 0.1, "please")


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1, float("nan")])
def test_a_share_is_one_of_calls(site: Any, share: float) -> None:
    with pytest.raises(InputError, match="no share"):
        begin(site.settings, TASK, challenger(site), "canary", share, "please")


def test_where_two_versions_do_not_fit_nothing_is_tried(site: Any) -> None:
    second = challenger(site)
    site.profile("demo", rollout={"drain_then_load": [TASK.name]})
    with pytest.raises(RefusedError, match="no two versions"):
        begin(site.settings, TASK, second, "shadow", 0.1, "please")


def test_a_canary_with_changed_bytes_is_refused(site: Any) -> None:
    second = challenger(site)
    (site.artifacts(second) / "model.safetensors").write_bytes(b"other")
    with pytest.raises(IntegrityError):
        begin(site.settings, TASK, second, "canary", 0.05, "please")


def test_a_canary_needs_the_approvals_of_a_promotion(site: Any) -> None:
    second = challenger(site)
    site.profile("demo", approvals=1)
    assert begin(site.settings, TASK, second, "shadow", 0.1, "nobody hears it")
    with pytest.raises(RefusedError, match="lacks one approval"):
        begin(site.settings, TASK, second, "canary", 0.05, "please")


def test_only_what_is_tried_is_withdrawn(site: Any) -> None:
    second = challenger(site)
    with pytest.raises(RefusedError, match="is not tried"):
        withdraw(site.settings, TASK, second, "please")
    begin(site.settings, TASK, second, "shadow", 0.1, "because")
    ended = withdraw(site.settings, TASK, second, "enough seen")
    assert isinstance(ended.record, Trial)
    assert ended.record.stage == "withdrawn"
    assert site.ledger().read().challenger(TASK.name) is None


def test_a_setting_of_rollouts_leaves_verdicts_as_they_are(site: Any) -> None:
    from hotline import policy

    before = policy.load(site.settings.workspace).digest
    site.profile("demo", rollout={"warm_seconds": 5, "watch_share": 0.1})
    assert policy.load(site.settings.workspace).digest == before


def test_every_refusal_names_the_next_step(site: Any) -> None:
    with pytest.raises(HotlineError) as refused:
        begin(site.settings, TASK, site.version(), "shadow", 0.1, "please")
    assert refused.value.next

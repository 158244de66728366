"""Fields are added, never changed: what was recorded before is read today."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from hotline.records import ADAPTER, ROLE_OF, Promotion, Verdict

D = "0" * 64
MODEL = f'"model":{{"digest":"{D}","files":{{"a.json":"{D}"}},"line":"tickets","run_id":"r","version":"1"}}'
SITE = '"schema_version":1,"site":"s","task":"ticket_category","time":"2026-01-01T00:00:00+00:00"'
LINEAGE = f'{{"base":null,"code":"{D}","declarations":{{"ticket_category":"{D}"}},"recipe":"{D}","snapshot":"{D}"}}'
OLD_VERDICT = (
    f'{{"evidence":{{"answers":"{D}","lineage":{LINEAGE},"policy":"{D}","test_rows":"{D}","test_snapshot":"{D}"}},'
    f'"figures":[],"findings":[{{"bar":"accuracy at least 0.8","figure":null,"outcome":"passed","reason":"0.9"}}],'
    f'"kind":"verdict","libraries":{{"numpy":"2.4"}},{MODEL},"outcome":"passed","previous_champion":null,'
    f'"profile":"demo",{SITE}}}'
)
OLD_PROMOTION = (
    f'{{"engine":"in process","kind":"promotion",{MODEL},"previous_champion":null,"reason":"passed",{SITE},'
    f'"verdict":"{D}"}}'
)


def test_an_entry_from_before_approvals_and_evidence_is_read_as_it_was() -> None:
    verdict, promotion = ADAPTER.validate_json(OLD_VERDICT), ADAPTER.validate_json(OLD_PROMOTION)
    assert isinstance(verdict, Verdict) and isinstance(promotion, Promotion)
    assert (verdict.evidence.bars, verdict.evidence.leaks, verdict.code, verdict.hardware) == (None, None, None, None)
    assert promotion.approvals == ()


def test_a_field_that_nobody_declared_is_refused() -> None:
    with pytest.raises(ValidationError, match="waived"):
        ADAPTER.validate_json(OLD_PROMOTION.replace('"reason"', '"waived":true,"reason"'))


def test_every_kind_of_record_has_a_role_that_signs_it() -> None:
    assert ROLE_OF == {
        "verdict": "gate",
        "approval": "approver",
        "promotion": "operator",
        "rollback": "operator",
        "trial": "operator",
    }

"""The draft of a postmortem says what the history knows, and leaves blanks where only people know."""

from dataclasses import replace

from pipelines.operations.postmortem import BLANK, Impact, Link, Moment, Story, draft
from pipelines.rollout.evidence import Count

AT = 1_800_000_000.0
LINEAGES = {
    "1": {
        "data_md5": "a" * 32 + ".dir",
        "commit": "c" * 40,
        "spec_sha256": "s" * 64,
        "dirty": False,
        "spec": {"a": {"b": 1}, "c": 2},
    },
    "2": {
        "data_md5": "b" * 32,
        "commit": "c" * 40,
        "spec_sha256": "t" * 64,
        "dirty": True,
        "spec": {"a": {"b": 3}, "c": 2, "d": 4},
    },
}
STORY = Story(
    model="tiny",
    rollout=7,
    version="2",
    champion="1",
    outcome="rolled back",
    opened_at=AT,
    served_at=AT + 10,
    bad_at=AT + 20,
    bad_mirrored=False,
    ended_at=AT + 22.5,
    reasons=("e = 130 in availability",),
    hurt=3,
    users=2,
    impacts=(Impact("availability", Count(40, 3), 2, Count(4_000, 1)),),
    judged=Count(),
    moments=(Moment(AT + 22.5, "**rollback**: e = 130"), Moment(AT, "opened")),
    lineages=LINEAGES,
    samples=(Link(AT + 21, "filter", "http://mlflow/tr-1"),),
    kept=1,
)


def test_the_draft_has_data_deploy_detection_hurt_and_samples() -> None:
    text = draft(STORY, AT + 100)
    assert "# Postmortem: tiny version 2 (rollout 7)" in text
    assert "first bad answer 2027-01-15 08:00:20 UTC (a user got it), taken back by the test 2.5 s later" in text
    assert "3 requests of 2 users were counted bad" in text
    assert "| availability | 3 of 40 bad = 7.50% (2.58% to 19.86%) | 2 | 1 of 4,000 bad = 0.03% (0.00% to 0.14%) |" in text
    assert text.index("08:00:00 UTC  opened") < text.index("08:00:22 UTC  **rollback**")
    assert f"| data (md5) | {'a' * 16} | {'b' * 16} |" in text
    assert "What changed in the spec (2 keys):\n\n- `a.b`: 1 -> 3\n- `d`: not there -> 4" in text
    assert "[filter](http://mlflow/tr-1)" in text
    assert text.count("To fill in:") >= 10
    assert BLANK in text


def test_users_whose_pseudonyms_are_gone_are_not_counted_as_one() -> None:
    impact = Impact("availability", Count(40, 3), 0, Count(4_000, 1), unknown=3)
    text = draft(replace(STORY, users=0, unknown=3, impacts=(impact,)), AT + 100)
    assert "3 requests of 0 users (users unknown for 3 rows) were counted bad" in text
    assert "(2.58% to 19.86%) | 0 (users unknown for 3 rows) | 1 of 4,000" in text


def test_what_is_not_known_is_said() -> None:
    unseen = replace(STORY, bad_at=None, hurt=0, users=0, lineages={}, samples=(), kept=0, reasons=("by hand, ann: odd",))
    text = draft(unseen, AT + 100)
    assert "the journal has no bad answer of it" in text
    assert "0 requests of users were counted bad." in text
    assert "The registry did not tell: `seqline lineage tiny@2`." in text
    assert "No answer of it that a filter, the judge or a sender doubted is in MLflow." in text
    open_ = replace(STORY, ended_at=None, reasons=())
    assert "(a user got it); it was not taken back." in draft(open_, AT + 100)
    assert "taken back by a person" in draft(replace(STORY, reasons=("by hand, ann: odd",)), AT + 100)
    assert "mirrored: no user saw it" in draft(replace(STORY, bad_mirrored=True), AT + 100)

"""The doctor's checks over facts: each is ok once, a gap or unknown otherwise, with a mend; what cannot be told is never ok."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from pipelines.errors import UserError
from pipelines.operations import before, checks, effects, incident, production
from pipelines.operations.facts import Gateway, Probe, Routes
from pipelines.rollout.evidence import Count
from pipelines.spec import Spec
from tests.serving.site import spec

NOW = 1_800_000_000.0
EVERY = (*before.CHECKS, *production.CHECKS, *incident.CHECKS, *effects.CHECKS)
MEASURED = {"verdict": "measured", "known": None, "planted": {"interval": [0.97, 1.0]}}
LINEAGE = {
    "scrub": {"verdicts": {"en": {"PERSON": MEASURED}}},
    "gate": {"rules": [{"rule": "leaks", "passed": True, "reason": ""}]},
}
SAID = {"pid": 7, "ok": True, "champion": "1", "canary": None, "weight": 0.0, "generation": 3, "wanted": 3, "in_flight": 0}
TOLD = {("ops", "page"): "a", ("ops", "ticket"): "b", ("ml", "page"): "c", ("ml", "ticket"): "d"}


def good() -> Spec:
    return spec(
        slo={"availability": {"objective": 0.99}, "latency": {"objective": 0.99, "target_ms": 900}},
        serving={
            "queue": 64,
            "cache": {"entries": 9},
            "cost": {"cap_per_hour": 5, "per_engine_hour": 1},
            "decoding": {"beam": 2},
        },
    )


@dataclass(frozen=True)
class Known:
    """pipelines.operations.facts.Facts with all well."""

    spec: Spec = field(default_factory=good)
    now: float = NOW
    status: Mapping[str, Any] | None = field(
        default_factory=lambda: {"last_event_age": 2.0, "held": "frozen by ann", "production": "1", "paged": []}
    )
    gateway: Gateway | None = Gateway(SAID, NOW - 60)  # noqa: RUF009
    metrics: Mapping[str, float] | None = field(
        default_factory=lambda: {"seqline_requests_total": 9.0, "seqline_review_samples_total": 3.0}
    )
    probe: Probe | None = Probe("1", frozenset({"smaller_beam"}))  # noqa: RUF009
    scraped: bool | None = True
    latency: Count | None = Count(2_000, 1)  # noqa: RUF009
    actions: frozenset[str] | None = frozenset({"advance", "promote", "rollback"})
    lineage: Mapping[str, Any] | None = field(default_factory=lambda: LINEAGE)
    stale: Sequence[str] | None = ()
    rules: str | None = ""
    routes: Routes | None = Routes(TOLD, ("https://pager.example",))  # noqa: RUF009
    cores: int = 2
    backup_at: float | None = NOW - 86_400
    recent: Mapping[str, Mapping[str, Count]] | None = field(default_factory=lambda: {"1": {"availability": Count(100, 3)}})
    incident: float | None = NOW - 600
    doubted: int | None = 4
    postmortem_at: float | None = NOW - 60
    drained: Gateway | None = Gateway({**SAID, "pid": 6}, NOW - 900)  # noqa: RUF009
    written_at: float = NOW - 90
    damage: Sequence[str] | None = ()


CLOUD = {"url": "http://127.0.0.1:9/"}
BACKED = replace(Known(), probe=Probe("endpoint:cloud"))
GAPS: list[tuple[str, dict[str, Any], bool | None, str]] = [
    ("slo-defined", {"spec": spec()}, False, "availability and latency"),
    ("slo-defined", {"spec": spec(slo={"availability": {"objective": 0.9}})}, False, "latency: nobody decided"),
    ("privacy-audit-passed", {"lineage": {**LINEAGE, "gate": {"rules": []}}}, None, "its gate looked for no leaks"),
    (
        "privacy-audit-passed",
        {"lineage": {**LINEAGE, "scrub": {"verdicts": {"en": {"PERSON": {**MEASURED, "planted": None}}}}}},
        None,
        "nothing was known or planted",
    ),
    ("telemetry-end-to-end", {"metrics": None}, None, "the gateway does not answer"),
    ("telemetry-end-to-end", {"metrics": {}}, None, "counted no request"),
    ("telemetry-end-to-end", {"status": {"last_event_age": None}}, None, "no answer is in the rollout database"),
    ("telemetry-end-to-end", {"metrics": {"seqline_requests_total": 1.0, "seqline_lost_total": 2.0}}, False, "lost 2"),
    ("telemetry-end-to-end", {"scraped": None}, None, "Prometheus does not answer"),
    ("telemetry-end-to-end", {"scraped": False}, False, "not scraped"),
    ("tail-latency-tested", {"latency": None}, None, "no answer was timed"),
    ("tail-latency-tested", {"latency": Count(50, 0)}, None, "too few to exclude 1.00%"),
    ("tail-latency-tested", {"latency": Count(2_000, 100)}, False, "more than the 1.00% allowed"),
    ("privacy-audit-passed", {"lineage": None}, None, "no version in production"),
    (
        "privacy-audit-passed",
        {"lineage": {**LINEAGE, "scrub": {"verdicts": {"en": {"URL": {"verdict": "not measured", "known": None}}}}}},
        None,
        "not measured: URL (en)",
    ),
    (
        "privacy-audit-passed",
        {"lineage": {**LINEAGE, "scrub": {"verdicts": {"en": {"URL": {**MEASURED, "planted": {"interval": [0.89, 1.0]}}}}}}},
        False,
        "may be as low as 89.0%",
    ),
    ("privacy-audit-passed", {"lineage": {**LINEAGE, "scrub": {"verdicts": {}}}}, None, "not measured: anything"),
    (
        "privacy-audit-passed",
        {"lineage": {**LINEAGE, "gate": {"rules": [{"rule": "leaks", "passed": False, "reason": "2 leaks"}]}}},
        False,
        "2 leaks",
    ),
    ("canary-path-proved", {"actions": frozenset({"promote"})}, False, "no version went through"),
    ("canary-path-proved", {"actions": None}, None, "does not answer"),
    ("rollback-path-proved", {"actions": frozenset({"advance", "promote"})}, False, "nothing was ever rolled back"),
    ("rollback-path-proved", {"actions": None}, None, "does not answer"),
    ("dashboards-and-rules", {"stale": None}, None, "infra/ is not in this project"),
    ("dashboards-and-rules", {"stale": ["a.yml", "b.json"]}, False, "infra/a.yml and 1 more"),
    ("dashboards-and-rules", {"rules": None}, None, "promtool is not here"),
    ("dashboards-and-rules", {"rules": "line 3"}, False, "promtool: line 3"),
    ("routes-tested", {"routes": None}, None, "amtool is not here"),
    ("routes-tested", {"routes": Routes({}, (), "bad")}, False, "amtool: bad"),
    ("routes-tested", {"routes": Routes({**TOLD, ("ml", "page"): ""}, ())}, False, "nobody is told of: ml page"),
    ("routes-tested", {"routes": Routes({**TOLD, ("ops", "page"): "b"}, ())}, False, "ops: a page goes where tickets go"),
    ("escalation-defined", {"routes": None}, None, "amtool is not here"),
    ("escalation-defined", {"routes": Routes(TOLD, ())}, False, "no receiver has an address"),
    ("escalation-defined", {"routes": Routes(TOLD, ("x", "http://127.0.0.1:9099/ops"))}, False, "nobody listens"),
    ("cost-cap-set", {"spec": spec()}, False, "no hour has a most"),
    ("cost-cap-set", {"spec": spec(serving={"cost": {"cap_per_hour": 5}})}, False, "nothing has a price"),
    ("scale-limits-set", {"spec": spec(serving={"threads": 3})}, False, "3 threads on 2 cores"),
    ("scale-limits-set", {"spec": spec()}, False, "nobody decided"),
    ("samples-flowing", {"spec": spec(serving={"review": {"share": 0}})}, False, "keeps no random share"),
    ("samples-flowing", {"metrics": None}, None, "does not answer"),
    ("samples-flowing", {"metrics": {}}, None, "no sample since"),
    ("samples-flowing", {"metrics": {"seqline_review_samples_total": 3.0, "seqline_lost_total": 1.0}}, False, "1 events"),
    ("restore-defined", {"backup_at": None}, False, "there is no backup"),
    ("restore-defined", {"backup_at": NOW - 8 * 86_400}, False, "8 days old"),
    ("severity-and-impact", {"recent": None}, None, "does not answer"),
    ("severity-and-impact", {"recent": {}}, None, "nobody was answered"),
    ("severity-and-impact", {"recent": {"1": {"policy": Count(9, 9)}}}, None, "nobody was answered"),
    ("backup-or-cache", {"spec": spec(serving={"cache": {"entries": 0}})}, False, "neither a backup model nor a cache"),
    ("smaller-beam-no-sampling", {"spec": spec(serving={"decoding": {"temperature": 0.5}})}, False, "answers are drawn"),
    ("smaller-beam-no-sampling", {"probe": None}, None, "does not answer"),
    ("smaller-beam-no-sampling", {"probe": Probe(None, problem="429")}, None, "429"),
    ("smaller-beam-no-sampling", {"probe": Probe("1")}, False, "a beam of 2"),
    ("failed-inputs-collected", {"doubted": None}, None, "the registry does not answer"),
    ("failed-inputs-collected", {"doubted": 0}, False, "no answer that a filter"),
    ("postmortem-opened", {"postmortem_at": None}, False, "nobody has opened one"),
    ("postmortem-opened", {"postmortem_at": NOW - 601}, False, "nobody has opened one"),
    ("everybody-on-champion", {"gateway": None}, None, "does not answer"),
    (
        "everybody-on-champion",
        {"gateway": Gateway({**SAID, "canary": "2", "weight": 5.0}, NOW)},
        False,
        "version 2 still has 5 %",
    ),
    ("everybody-on-champion", {"gateway": Gateway({**SAID, "generation": 2}, NOW)}, False, "does not follow"),
    ("everybody-on-champion", {"probe": Probe(None, problem="503")}, False, "503"),
    ("nothing-rises", {"status": None}, None, "does not answer"),
    ("nothing-rises", {"status": {"held": None}}, False, "nothing stops"),
    ("nothing-rises", {"status": {"held": "paused by ann"}}, False, "it is paused by ann"),
    ("backup-answers", {"probe": None}, None, "does not answer"),
    ("backup-answers", {"probe": Probe("1")}, False, "version 1 answers"),
    ("answers", {"probe": None}, None, "does not answer"),
    ("answers", {"probe": Probe(None, problem="503")}, False, "503"),
    ("drained", {"drained": None}, False, "nobody asked"),
    ("drained", {"drained": Gateway(SAID, NOW - 61)}, False, "it still runs"),
    ("yaml-served", {"gateway": None}, None, "does not answer"),
    ("yaml-served", {"written_at": NOW - 30}, False, "before the YAML was changed"),
    ("yaml-served", {"probe": Probe(None, problem="503")}, False, "503"),
    ("memory-whole", {"damage": None}, None, "do not answer"),
    ("memory-whole", {"damage": ["rollout.db: malformed"]}, False, "rollout.db: malformed"),
]


@pytest.mark.parametrize("name", [check.name for check in EVERY if check.name != "backup-answers"])
def test_with_all_well_there_is_no_gap(name: str) -> None:
    (found,) = checks.examine(checks.named(EVERY, [name]), Known())
    assert found.ok is True, found
    assert found.said
    assert found.mend == ""


@pytest.mark.parametrize(("name", "facts", "ok", "said"), GAPS)
def test_a_gap_says_why_and_what_to_do(name: str, facts: dict[str, Any], ok: bool | None, said: str) -> None:
    (found,) = checks.examine(checks.named(EVERY, [name]), replace(Known(), **facts))
    assert found.ok is ok
    assert said in found.said
    assert found.mend
    assert "\n" not in found.said + found.mend


def test_every_check_has_a_gap_here() -> None:
    assert {name for name, *_ in GAPS} == {check.name for check in EVERY}


@pytest.mark.parametrize(
    ("name", "facts", "said"),
    [
        ("backup-answers", BACKED, "endpoint:cloud answers everybody"),
        ("backup-or-cache", BACKED, "endpoint:cloud answers everybody"),
        (
            "backup-or-cache",
            replace(Known(), spec=spec(serving={"endpoints": {"cloud": CLOUD}, "overload": {"backup": "cloud"}})),
            "cloud answers when the queue is full",
        ),
        ("drained", replace(Known(), gateway=None), "nobody started another one"),
        ("postmortem-opened", replace(Known(), incident=None), "knows of no incident"),
        (
            "smaller-beam-no-sampling",
            replace(Known(), spec=spec(serving={"decoding": {"beam": 1}}), probe=Probe("1")),
            "beam of 1",
        ),
        ("severity-and-impact", replace(Known(), recent={"1": {"latency": Count(100, 0)}}), "SEV3"),
        ("severity-and-impact", Known(), "SEV2: version 1, availability: 3 of 100 bad in the last hour, 3 x the budget"),
        (
            "severity-and-impact",
            replace(Known(), recent={"2": {"availability": Count(10, 5)}, "1": {"availability": Count(90, 0)}}),
            "SEV1: version 2, availability: 5 of 10 bad in the last hour, 50 x the budget; beside it answered 1",
        ),
    ],
)
def test_there_is_more_than_one_way_to_be_well(name: str, facts: Known, said: str) -> None:
    (found,) = checks.examine(checks.named(EVERY, [name]), facts)
    assert found.ok is True
    assert said in found.said


def test_the_phase_is_what_fits_now() -> None:
    assert checks.phase_now(Known()) == "incident"
    assert checks.phase_now(replace(Known(), incident=None)) == "production"
    assert checks.phase_now(replace(Known(), incident=None, status={"production": None})) == "before"
    assert checks.phase_now(replace(Known(), incident=None, status=None)) == "before"
    names = [check.name for phase in checks.PHASES for check in checks.of_phase(EVERY, phase)]
    assert len(names) == len(set(names)) == 18
    with pytest.raises(UserError, match="--phase after: must be one of before, production, incident"):
        checks.of_phase(EVERY, "after")
    with pytest.raises(UserError, match="--only nothing: no such check"):
        checks.named(EVERY, ["nothing"])

"""Before production: is it known what is promised, is it seen, was it tried?"""

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.operations.checks import Check, Verdict
from pipelines.operations.facts import Facts

RECALL = 0.9
"""The least recall of personal data (the lower end of its interval): the bar below which the scrubber itself falls back."""


def slo_defined(facts: Facts) -> Verdict:
    given = facts.spec.slo.model_fields_set if "slo" in facts.spec.model_fields_set else set()
    missing = [sli for sli in ("availability", "latency") if sli not in given]
    mend = f"write `slo: {{{missing[0]}: {{objective: ...}}}}` into the YAML, then `make infra`" if missing else ""
    if missing:
        return Verdict(False, f"{' and '.join(missing)}: nobody decided what is promised (a default stands in)", mend)
    slo = facts.spec.slo
    told = f"{slo.availability.objective:.3%} answered, {slo.latency.objective:.3%} within {slo.latency.target_ms} ms"
    return Verdict(True, f"{told}, over {slo.window_days} days")


def telemetry_end_to_end(facts: Facts) -> Verdict:
    """A request is counted by the gateway, written into the journal, and the gateway is scraped."""
    if facts.metrics is None:
        return Verdict(None, "the gateway does not answer: what it counts cannot be told", f"`seqline serve {facts.spec.name}`")
    counted = facts.metrics.get("seqline_requests_total", 0.0)
    age = facts.status["last_event_age"] if facts.status else None
    if not counted or age is None:
        what = "the gateway counted no request yet" if not counted else "no answer is in the rollout database"
        return Verdict(None, what, 'send it a request: `curl -d \'{"inputs": ["..."]}\' HOST:PORT/v1/generate`')
    lost = facts.metrics.get("seqline_lost_total", 0.0)
    if lost:
        return Verdict(False, f"the gateway lost {lost:,.0f} events, pairs or samples", "runbook page gateway-loses.md")
    if not facts.scraped:
        mend = "`make up` brings Prometheus (or point your own at infra/prometheus/prometheus.yml)"
        return Verdict(facts.scraped, "Prometheus does not answer" if facts.scraped is None else "not scraped", mend)
    return Verdict(True, f"{counted:,.0f} requests counted, the last answer in the journal {age:.0f} s ago, scraped")


def tail_latency_tested(facts: Facts) -> Verdict:
    """Enough answers of the version in production, and the share of slow ones excluded at 95 %."""
    latency = facts.spec.slo.latency
    mend = f"a rollout with traffic, or `rollout.traffic: replay`, then `seqline rollout {facts.spec.name} --watch`"
    if facts.latency is None or not facts.latency.n:
        return Verdict(None, "no answer was timed yet", mend)
    count, allowed = facts.latency, 1 - latency.objective
    low, high = count.interval()
    told = f"{count.bad:,} of {count.n:,} answers slower than {latency.target_ms} ms ({low:.2%} to {high:.2%})"
    if high <= allowed:
        return Verdict(True, f"{told}; {allowed:.2%} are allowed")
    if low > allowed:
        return Verdict(False, f"{told}: more than the {allowed:.2%} allowed", "runbook shrink-beam, or `seqline sweep`")
    return Verdict(None, f"{told}: too few to exclude {allowed:.2%}", mend)


def privacy_audit_passed(facts: Facts) -> Verdict:
    """All that the policy names was measured, hardly anything missed, and the model leaked nothing in its report."""
    name = facts.spec.name
    if facts.lineage is None:
        return Verdict(
            None, "no version in production, or the registry does not answer", f"`seqline retrain models/{name}.yaml`"
        )
    measured = [
        (language, entity, told)
        for language, entities in facts.lineage["scrub"]["verdicts"].items()
        for entity, told in entities.items()
    ]
    unknown = [f"{entity} ({language})" for language, entity, told in measured if told["verdict"] != "measured"]
    if unknown or not measured:
        return Verdict(
            None, f"not measured: {', '.join(unknown) or 'anything'}", f"`seqline audit {name}`; retrain on more texts"
        )
    lows = {
        f"{entity} ({language}, {how})": told[how]["interval"][0]
        for language, entity, told in measured
        for how in ("known", "planted")
        if told[how]
    }
    if not lows:
        return Verdict(None, "nothing was known or planted to measure with", f"`seqline audit {name}`")
    worst = min(lows, key=lambda each: lows[each])
    if lows[worst] < RECALL:
        return Verdict(
            False, f"recall of {worst} may be as low as {lows[worst]:.1%}", f"`seqline audit {name}`; privacy.level: exact"
        )
    well = Verdict(True, f"every entity measured; the worst recall ({worst}) is at least {lows[worst]:.1%}")
    return _leaked(name, facts.lineage["gate"]["rules"]) or well


def _leaked(name: str, rules: Sequence[Mapping[str, Any]]) -> Verdict | None:
    """A gap if the gate found leaks in the model's outputs, or looked for none."""
    leaks = [rule for rule in rules if rule["rule"] == "leaks"]
    if not leaks:
        return Verdict(None, "its gate looked for no leaks", f"`seqline gate {name}`")
    if any(not rule["passed"] for rule in leaks):
        return Verdict(False, leaks[0]["reason"], f"`seqline gate {name}`")
    return None


def canary_path_proved(facts: Facts) -> Verdict:
    mend = f"roll a second version out: `seqline rollout {facts.spec.name} --watch`"
    if facts.actions is None:
        return Verdict(None, "the rollout database does not answer", "runbook restore")
    if {"advance", "promote"} <= facts.actions:
        return Verdict(True, "a version went through the stages and was let in")
    return Verdict(False, "no version went through the stages yet", mend)


def rollback_path_proved(facts: Facts) -> Verdict:
    mend = f"a drill, while a rollout is open: `seqline runbook rollback {facts.spec.name} --run`"
    if facts.actions is None:
        return Verdict(None, "the rollout database does not answer", "runbook restore")
    if "rollback" in facts.actions:
        return Verdict(True, "a version was rolled back before, by the test or by hand")
    return Verdict(False, "nothing was ever rolled back here: nobody knows that it works", mend)


CHECKS = (
    Check("before", "slo-defined", slo_defined),
    Check("before", "telemetry-end-to-end", telemetry_end_to_end),
    Check("before", "tail-latency-tested", tail_latency_tested),
    Check("before", "privacy-audit-passed", privacy_audit_passed),
    Check("before", "canary-path-proved", canary_path_proved),
    Check("before", "rollback-path-proved", rollback_path_proved),
)

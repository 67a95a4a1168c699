"""In an incident: is it known who is hurt, is the bleeding stopped, is what failed kept, has somebody begun to write?"""

from pipelines.operations.checks import Check, Verdict
from pipelines.operations.facts import Facts
from pipelines.rollout.evidence import Count
from pipelines.spec import Objective, Slo

MAJOR, MINOR = 10.0, 1.0  # times the error budget's rate


def severity_and_impact(facts: Facts) -> Verdict:
    """Which versions fail their promises, and how badly: what users met in the last hour."""
    if facts.recent is None:
        return Verdict(None, "the rollout database does not answer", f"`seqline runbook restore {facts.spec.name}`")
    hurt = [
        (burn, version, sli, count)
        for version, slis in facts.recent.items()
        for sli, count in slis.items()
        if count.n and (burn := _burn(facts.spec.slo, sli, count)) is not None
    ]
    if not hurt:
        return Verdict(
            None, "nobody was answered in the last hour: whom it hurts cannot be told", "is the gateway up? `make up`"
        )
    burn, version, sli, count = max(hurt)
    severity = "SEV1" if burn >= MAJOR else "SEV2" if burn >= MINOR else "SEV3"
    others = sorted({each for _, each, _, _ in hurt} - {version})
    beside = f"; beside it answered {', '.join(others)}" if others else ""
    told = f"{severity}: version {version}, {sli}: {count.bad:,} of {count.n:,} bad in the last hour, {burn:.3g} x the budget"
    return Verdict(True, told + beside)


def backup_or_cache(facts: Facts) -> Verdict:
    """Is there somebody else who answers: a backup model, or the cache?"""
    serving = facts.spec.serving
    if facts.probe and (facts.probe.version or "").startswith("endpoint:"):
        return Verdict(True, f"{facts.probe.version} answers everybody")
    if serving.overload.backup:
        return Verdict(True, f"{serving.overload.backup} answers when the queue is full or the champion is away")
    if serving.cache.entries:
        kept = f"no backup model, but up to {serving.cache.entries:,} kept answers"
        return Verdict(True, f"{kept} serve from {serving.overload.stale_at:.0%} of the queue on")
    mend = "`serving.endpoints` and runbook backup-model; serving.cache.entries"
    return Verdict(False, "neither a backup model nor a cache", mend)


def smaller_beam_no_sampling(facts: Facts) -> Verdict:
    """Is everybody decoded as cheaply and as surely as can be?"""
    serving, mend = facts.spec.serving, f"`seqline runbook shrink-beam {facts.spec.name} --run`"
    if serving.decoding.temperature:
        return Verdict(False, f"answers are drawn (temperature {serving.decoding.temperature:g})", mend)
    if facts.probe is None or facts.probe.problem:
        why = facts.probe.problem if facts.probe else "the gateway's admin API does not answer"
        return Verdict(None, f"a text was not answered: {why}", f"`seqline serve {facts.spec.name}`")
    if serving.decoding.beam == 1 or "smaller_beam" in facts.probe.degraded:
        return Verdict(True, "a text was decoded with a beam of 1, not drawn")
    return Verdict(False, f"a text was decoded with a beam of {serving.decoding.beam}", mend)


def failed_inputs_collected(facts: Facts) -> Verdict:
    mend = "serving.review.per_hour above 0; MLflow's server"
    if facts.doubted is None:
        return Verdict(None, "the registry does not answer, or nothing was ever sampled", mend)
    if facts.doubted:
        return Verdict(
            True, f"{facts.doubted:,} doubted answers, scrubbed, are MLflow traces: `seqline labels {facts.spec.name} fill`"
        )
    return Verdict(False, "no answer that a filter, the judge or a sender doubted was kept since it began", mend)


def postmortem_opened(facts: Facts) -> Verdict:
    mend = f"`seqline postmortem {facts.spec.name}`"
    if facts.incident is None:
        return Verdict(True, "the rollout database knows of no incident")
    if facts.postmortem_at is None or facts.postmortem_at < facts.incident:
        return Verdict(False, "nobody has opened one since it began", mend)
    return Verdict(True, f"opened {(facts.now - facts.postmortem_at) / 60:.0f} minutes ago")


def _burn(slo: Slo, sli: str, count: Count) -> float | None:
    """Times the error budget's rate; None of what is not promised (a judge's flags)."""
    promised: Objective | None = getattr(slo, sli, None)
    return count.bad / count.n / (1 - promised.objective) if promised else None


CHECKS = (
    Check("incident", "severity-and-impact", severity_and_impact),
    Check("incident", "backup-or-cache", backup_or_cache),
    Check("incident", "smaller-beam-no-sampling", smaller_beam_no_sampling),
    Check("incident", "failed-inputs-collected", failed_inputs_collected),
    Check("incident", "postmortem-opened", postmortem_opened),
)

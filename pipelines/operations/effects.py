"""What a runbook did, proved at the gateway and in the databases: the last step of each page asks one of these."""

from pipelines.operations.checks import Check, Verdict
from pipelines.operations.facts import ROUNDED, Facts


def everybody_on_champion(facts: Facts) -> Verdict:
    """The gateway sends nobody to a canary, follows the newest route, and the champion answers a text."""
    if facts.gateway is None or facts.probe is None:
        return Verdict(None, "the gateway does not answer", f"`seqline serve {facts.spec.name}`")
    said, probe = facts.gateway.said, facts.probe
    if said["canary"] is not None:
        return Verdict(
            False,
            f"version {said['canary']} still has {said['weight']:g} % of the senders",
            f"`seqline status {facts.spec.name}`",
        )
    if said["generation"] != said["wanted"]:
        return Verdict(False, "the gateway does not follow the newest route yet", "wait until its engine is ready")
    if probe.problem or probe.version != said["champion"]:
        return Verdict(False, f"version {said['champion']} does not answer: {probe.problem}", "logs/gateway.log")
    return Verdict(True, f"version {probe.version} serves everybody, and answers")


def nothing_rises(facts: Facts) -> Verdict:
    if facts.status is None:
        return Verdict(None, "the rollout database does not answer", f"`seqline runbook restore {facts.spec.name}`")
    held = facts.status["held"] or ""
    if held.startswith("frozen"):
        return Verdict(True, held)
    return Verdict(
        False, f"it is {held}" if held else "nothing stops a version from rising", f"`seqline freeze {facts.spec.name}`"
    )


def backup_answers(facts: Facts) -> Verdict:
    if facts.probe is None:
        return Verdict(None, "the gateway does not answer", f"`seqline serve {facts.spec.name}`")
    if facts.probe.problem or not (facts.probe.version or "").startswith("endpoint:"):
        why = facts.probe.problem or f"version {facts.probe.version} answers"
        return Verdict(False, f"the backup model does not answer: {why}", "its address and key: serving.endpoints")
    return Verdict(True, f"{facts.probe.version} answers everybody")


def answers(facts: Facts) -> Verdict:
    if facts.probe is None:
        return Verdict(None, "the gateway does not answer", f"`seqline serve {facts.spec.name}`")
    if facts.probe.problem:
        return Verdict(False, f"a text was not answered: {facts.probe.problem}", "logs/gateway.log")
    return Verdict(True, f"version {facts.probe.version} answers")


def drained(facts: Facts) -> Verdict:
    """The gateway that was asked to drain has ended (another one may answer by now)."""
    if facts.drained is None:
        return Verdict(False, "nobody asked it to drain", f"`seqline drain {facts.spec.name}`")
    if facts.gateway is None:
        return Verdict(True, "it has ended, and nobody started another one")
    if not facts.gateway.same(facts.drained):
        return Verdict(True, f"it has ended; another one answers since {facts.now - facts.gateway.since:.0f} s")
    return Verdict(False, f"it still runs, with {facts.gateway.said['in_flight']} requests in flight", "wait; then SIGTERM")


def yaml_served(facts: Facts) -> Verdict:
    """The gateway answers, and has read the YAML as it is now."""
    if facts.gateway is None or facts.probe is None:
        return Verdict(None, "the gateway does not answer", f"`seqline serve {facts.spec.name}`")
    if facts.gateway.since + ROUNDED < facts.written_at:
        return Verdict(False, "the gateway started before the YAML was changed", f"`seqline drain {facts.spec.name} --again`")
    if facts.probe.problem:
        return Verdict(False, f"it does not answer: {facts.probe.problem}", "logs/gateway.log")
    serving = facts.spec.serving
    threads = serving.threads or max(1, facts.cores - 1)
    return Verdict(True, f"it answers, with the YAML of now: {threads} threads an engine, a queue of {serving.queue}")


def memory_whole(facts: Facts) -> Verdict:
    """The databases are sound, and each version that the route names is in the registry with all its files."""
    if facts.damage is None:
        return Verdict(None, "the databases do not answer", f"`seqline runbook restore {facts.spec.name}`")
    if facts.damage:
        return Verdict(
            False, "; ".join(facts.damage), f"`seqline runbook restore {facts.spec.name}`, or `seqline restore` an older one"
        )
    return Verdict(True, "both databases are sound, and every version in the route has all its files")


CHECKS = (
    Check("effect", "everybody-on-champion", everybody_on_champion),
    Check("effect", "nothing-rises", nothing_rises),
    Check("effect", "backup-answers", backup_answers),
    Check("effect", "answers", answers),
    Check("effect", "drained", drained),
    Check("effect", "yaml-served", yaml_served),
    Check("effect", "memory-whole", memory_whole),
)

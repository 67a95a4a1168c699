"""In production: would somebody be told, is there an end to what it costs, could it be brought back?"""

from pipelines.operations.checks import Check, Verdict
from pipelines.operations.facts import Facts

BACKUP_DAYS = 7
ASKED = (("ops", "page"), ("ops", "ticket"), ("ml", "page"), ("ml", "ticket"))
"""(team, severity) of the alerts (pipelines/alerting/alerts.py)."""
NOBODY = "127.0.0.1:9099"
"""The address that stands in infra/alertmanager/alertmanager.yml until somebody puts their own."""


def dashboards_and_rules(facts: Facts) -> Verdict:
    """The rules and dashboards are those of the specs as they are now, and promtool reads them."""
    if facts.stale is None:
        return Verdict(None, "infra/ is not in this project", "work in a clone of the repository")
    if facts.stale:
        more = f" and {len(facts.stale) - 1} more" if len(facts.stale) > 1 else ""
        return Verdict(False, f"infra/{facts.stale[0]}{more}: not what the specs say", "`make infra`")
    if facts.rules is None:
        return Verdict(None, "promtool is not here: nobody read the rules", "`make setup` brings Debian's by apt")
    if facts.rules:
        return Verdict(False, f"promtool: {facts.rules}", "`make infra`")
    return Verdict(True, "rules and dashboards are those of the specs; promtool reads them")


def routes_tested(facts: Facts) -> Verdict:
    """Each kind of alert has a receiver of its own."""
    if facts.routes is None:
        return Verdict(None, "amtool is not here: nobody tried the routes", "`make setup` brings Debian's by apt")
    if facts.routes.problem:
        return Verdict(False, f"amtool: {facts.routes.problem}", "mend infra/alertmanager/alertmanager.yml")
    nobody = [f"{team} {severity}" for team, severity in ASKED if not facts.routes.told.get((team, severity))]
    if nobody:
        return Verdict(False, f"nobody is told of: {', '.join(nobody)}", "mend infra/alertmanager/alertmanager.yml")
    same = [team for team in ("ops", "ml") if facts.routes.told[team, "page"] == facts.routes.told[team, "ticket"]]
    if same:
        return Verdict(False, f"{same[0]}: a page goes where tickets go", "mend infra/alertmanager/alertmanager.yml")
    told = ", ".join(f"{team} {severity} to {facts.routes.told[team, severity]}" for team, severity in ASKED)
    return Verdict(True, f"tried: {told}")


def escalation_defined(facts: Facts) -> Verdict:
    if facts.routes is None:
        return Verdict(None, "amtool is not here: the routes cannot be read", "`make setup` brings Debian's by apt")
    unset = [address for address in facts.routes.addresses if NOBODY in address]
    if unset or not facts.routes.addresses:
        mend = "put your own addresses into infra/alertmanager/alertmanager.yml"
        return Verdict(False, f"alerts go to {NOBODY}, where nobody listens" if unset else "no receiver has an address", mend)
    return Verdict(True, f"{len(facts.routes.addresses)} addresses are told")


def cost_cap_set(facts: Facts) -> Verdict:
    cost = facts.spec.serving.cost
    if cost.cap_per_hour is None:
        return Verdict(
            False, "no hour has a most that it may cost", f"`seqline set {facts.spec.name} serving.cost.cap_per_hour=...`"
        )
    if not cost.per_engine_hour and not any(each.per_1000_tokens for each in facts.spec.serving.endpoints.values()):
        mend = f"`seqline set {facts.spec.name} serving.cost.per_engine_hour=...`"
        return Verdict(False, "there is a cap, but nothing has a price: it can never be reached", mend)
    return Verdict(True, f"at most {cost.cap_per_hour:g} {cost.currency} an hour; from 80 % of it beams are 1")


def scale_limits_set(facts: Facts) -> Verdict:
    """Nothing here scales by itself: the limits are an engine's threads, and the queue before the 429."""
    serving = facts.spec.serving
    if serving.threads > facts.cores:
        mend = f"`seqline runbook scale {facts.spec.name} --set threads={facts.cores} --run`"
        return Verdict(False, f"an engine has {serving.threads} threads on {facts.cores} cores: they wait for each other", mend)
    if not {"queue", "threads"} & serving.model_fields_set:
        mend = f"`seqline runbook scale {facts.spec.name} --set threads=N --run`, and serving.queue"
        return Verdict(False, "nobody decided how many threads and how long a queue (defaults stand in)", mend)
    threads = serving.threads or f"{max(1, facts.cores - 1)} (one less than the cores)"
    return Verdict(True, f"an engine has {threads} threads, {serving.queue} requests may wait, further ones get 429")


def samples_flowing(facts: Facts) -> Verdict:
    review = facts.spec.serving.review
    if not review.per_hour or not review.share:
        return Verdict(False, "serving.review keeps no random share of the answers", "serving.review.share, above 0")
    if facts.metrics is None:
        return Verdict(None, "the gateway does not answer", f"`seqline serve {facts.spec.name}`")
    written, lost = facts.metrics.get("seqline_review_samples_total", 0.0), facts.metrics.get("seqline_lost_total", 0.0)
    if not written:
        return Verdict(
            None, "no sample since the gateway started", f"wait for traffic, or look into logs/review-{facts.spec.name}.log"
        )
    if lost:
        return Verdict(False, f"{lost:,.0f} events, pairs or samples were lost", "runbook page gateway-loses.md")
    return Verdict(True, f"{written:,.0f} samples since the gateway started, none lost")


def restore_defined(facts: Facts) -> Verdict:
    if facts.backup_at is None:
        return Verdict(False, "there is no backup", "`seqline backup`, each day")
    days = (facts.now - facts.backup_at) / 86_400
    if days > BACKUP_DAYS:
        return Verdict(False, f"the newest backup is {days:.0f} days old", "`seqline backup`, each day")
    return Verdict(True, f"a whole backup, {days:.1f} days old: `seqline runbook restore {facts.spec.name}`")


CHECKS = (
    Check("production", "dashboards-and-rules", dashboards_and_rules),
    Check("production", "routes-tested", routes_tested),
    Check("production", "escalation-defined", escalation_defined),
    Check("production", "cost-cap-set", cost_cap_set),
    Check("production", "scale-limits-set", scale_limits_set),
    Check("production", "samples-flowing", samples_flowing),
    Check("production", "restore-defined", restore_defined),
)

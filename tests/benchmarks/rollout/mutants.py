"""The suite, tried on purpose-made faults: each mutant is one small wrong edit of the code that decides or acts, in a copy.

A mutant that its tests let pass is a hole in them. The copy's own, unchanged code must pass them first. The tests of those that
act take a real database and a real MLflow registry, so that each is tried on the few that should catch it.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
PURE = tuple(
    f"tests/rollout/test_{name}.py" for name in ("moving_on", "decide", "evidence", "budget", "exclusion", "scores")
)  # fmt: skip
LEASE = "tests/rollout/test_leases.py::test_one_has_the_lease_till_its_time_is_over[sqlite]"
LATE = "tests/rollout/test_leases.py::test_what_a_controller_tells_too_late_is_told_anew_by_the_other"
SLEPT = "tests/rollout/test_leases.py::test_a_controller_that_slept_before_its_commit_commits_nothing"
AWAY = "tests/rollout/test_controller.py::test_traffic_is_decided_while_the_registry_is_away_and_it_is_told_later"
BROKEN = "tests/rollout/test_controller.py::test_a_broken_version_is_rolled_back_and_stays_out"
NEWER = "tests/rollout/test_controller.py::test_opening_is_idempotent_and_a_newer_version_supersedes"
APPROVING = "tests/rollout/test_approving.py"
STORE = "tests/rollout/test_store.py"
TICKING = "tests/rollout/test_ticking.py"
WAKING = "tests/rollout/test_waking.py"
SPLIT = "tests/serving/test_split.py"
REGISTRY = "tests/registry/test_approval.py"
SECONDS = 600.0  # a mutant that hangs its tests is caught


@dataclass(frozen=True)
class Mutant:
    name: str
    file: str  # in pipelines/
    old: str
    new: str
    tests: tuple[str, ...] = PURE


DECIDING = (
    Mutant("> for >= at 1/alpha", "rollout/decide.py", "if total < policy.bar:", "if total <= policy.bar:"),
    Mutant("proof that it is worse is not looked at", "rollout/decide.py", "worse = _worse(state, policy) or ", "worse = "),
    Mutant("no cap on what a stage spends", "rollout/decide.py", "_spent(state, observed, policy) or ", ""),
    Mutant("given up though the champion fails, too", "rollout/decide.py", "fuses <= REARMS or not healthy", "fuses <= REARMS"),
    Mutant("a stage is skipped", "rollout/decide.py", "stage = state.stage + 1 if", "stage = state.stage + 2 if"),
    Mutant("inconclusive passes", "rollout/moving_on.py", "if found < policy.stage_bar:", "if found < -policy.stage_bar:"),
    Mutant("moves on blind", "rollout/moving_on.py", "if requests < policy.stage_requests:", "if requests < 0:"),
    Mutant("moves on at once", "rollout/moving_on.py", "observed.now - state.since < policy.stage_seconds", "False"),
    Mutant(
        "moves on without news",
        "rollout/moving_on.py",
        "if last is None or observed.now - last > ",
        "if last and last > 1e99 + ",
    ),
    Mutant("moves on in an incident", "rollout/budget.py", "return recent.bad > ", "return recent.bad > 1e9 * "),
    Mutant("moves on while suspect", "rollout/moving_on.py", "if log < math.log(policy.suspicion):", "if log < policy.bar:"),
    Mutant(
        "an approval past its gate's end",
        "rollout/decide.py",
        "observed.now >= gate.expires_at",
        "observed.now > gate.expires_at",
    ),
    Mutant("an approval of other evidence", "rollout/decide.py", "approval.digest == gate.digest and ", ""),
    Mutant(
        "an approval from before the gate", "rollout/decide.py", "gate.opened_at <= approval.at < gate", "approval.at < gate"
    ),
    Mutant("approved whatever happened since", "rollout/decide.py", "        if unsafe:\n", "        if False:\n"),
    Mutant("starts on a spent budget", "rollout/moving_on.py", "if share < least", "if share < -1e9"),
    Mutant("every bad answer of a user is bet on", "rollout/evidence.py", "new=key not in users", "new=True"),
    Mutant("one game's users in the other", "rollout/evidence.py", 'return f"{name}:pair:', 'return f"{name}:'),
    Mutant("the old share just after a change", "rollout/evidence.py", "largest = max(largest, share)", "largest = share"),
    Mutant("other versions' answers count", "rollout/evidence.py", "if event.version != (", "if event.version == '' != ("),
    Mutant(
        "late answers count in the stage", "rollout/evidence.py", "current = event.at >= evidence.entered", "current = True"
    ),
    Mutant("alpha is spent in each SLI", "rollout/evidence.py", "- math.log(len(evidence.slis))", ""),
    Mutant(
        "the champion's failures cost no wealth", "rollout/bets.py", 'math.log(r) if arm == "canary" else 0.0', "math.log(r)"
    ),
    Mutant("the champion's rate excuses all", "rollout/exclusion.py", "min(_log_below(canary", "max(_log_below(canary"),
    Mutant("either half of the proof is enough", "rollout/exclusion.py", "min(above, below)", "max(above, below)"),
    Mutant("every pair of a user is bet on", "rollout/evidence.py", "if key in users:", "if False:"),
    Mutant("the lower score is the better", "rollout/scores.py", "(champion - canary)", "(canary - champion)"),
)
ACTING = (
    Mutant("another's lease is nobody's", "rollout/leases.py", "and now < found.until", "and False", (LEASE,)),
    Mutant("> for >= at a lease's end", "rollout/leases.py", "now < found.until", "now <= found.until", (LEASE,)),
    Mutant("who takes over has the old token", "rollout/leases.py", " + (found.holder != holder)", "", (LEASE,)),
    Mutant(
        "commits though the lease is lost", "rollout/controller.py",
        "        leases.check(lease, connection)\n        rollout =", "        rollout =", (SLEPT,),
    ),
    Mutant("what is told too late stays", "rollout/controller.py", "if leases.lost(lease, connection):", "if False:", (LATE,)),
    Mutant("what is told anew is told twice", "rollout/effects.py", "{int(payload['at'] * 1000)}-", "{id(effect)}-", (LATE,)),
    Mutant("the outbox backwards", "rollout/ledger.py", ".order_by(outbox.c.id)", ".order_by(outbox.c.id.desc())", (AWAY,)),
    Mutant(
        "rolled back, it stays the registry's canary", "rollout/effects.py",
        'free = [_alias("canary", None)] if canary else []', "free: list[Row] = []", (BROKEN,),
    ),
    Mutant(
        "offsets are not kept", "rollout/ledger.py",
        ', "offsets": dict(offsets)}\n    connection', "}\n    connection", (TICKING,),
    ),
    Mutant("who was bet on is forgotten", "rollout/controller.py", "after.evidence.users - known", "()", (TICKING,)),
    Mutant(
        "a stale route is written", "rollout/store.py",
        "sa.update(routes).where(routes.c.name == name, routes.c.generation == route.generation).values(**values)",
        "sa.update(routes).where(routes.c.name == name).values(**values)", (STORE,),
    ),
    Mutant(
        "a lease that nobody renews", "rollout/controller.py",
        "store.renew(name, route.generation, connection, now)", "pass", (WAKING,),
    ),
    Mutant(
        "unwatched time is time in the stage", "rollout/waking.py",
        "min(now, state.since + now - until)", "state.since", (WAKING,),
    ),
    Mutant("fails open past the lease", "serving/split.py", " and now < route.lease_until", "", (SPLIT,)),
    Mutant("a press past the gate's end", "rollout/approving.py", "if press.at < gate.expires_at:", "if True:", (APPROVING,)),
    Mutant("one person is two", "rollout/approving.py", "if press.user in {", "if press.user in () and {", (APPROVING,)),
    Mutant("a press on other evidence", "registry/approval.py", "if digest != expected:", "if False:", (REGISTRY,)),
    Mutant("an older version overtakes", "rollout/opening.py", "if int(version) <= int(older.version):", "if False:", (NEWER,)),
)  # fmt: skip
MUTANTS = DECIDING + ACTING


def survivors(mutants: Sequence[Mutant] = MUTANTS) -> list[str]:
    """The mutants that no test noticed, by name.

    Raises:
        RuntimeError: the unchanged code fails the tests, or a mutant's text is not in the code any more.
    """
    with tempfile.TemporaryDirectory(prefix="seqline-mutants-") as folder:
        copy = Path(folder)
        for part in ("pipelines", "flows", "tests"):
            shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        for mutant in mutants:
            _check(mutant, copy)
        if failed := _failed(copy, list(dict.fromkeys(test for mutant in mutants for test in mutant.tests))):
            raise RuntimeError(f"the tests fail on the unchanged code, so that no mutant can be judged: {failed}")
        return [mutant.name for mutant in mutants if _survives(mutant, copy)]


def _check(mutant: Mutant, copy: Path) -> None:
    found = (copy / "pipelines" / mutant.file).read_text(encoding="utf-8").count(mutant.old)
    if found != 1:
        raise RuntimeError(f"mutant {mutant.name}: {mutant.file} holds its text {found} times, not once")


def _survives(mutant: Mutant, copy: Path) -> bool:
    path = copy / "pipelines" / mutant.file
    whole = path.read_text(encoding="utf-8")
    try:
        path.write_text(whole.replace(mutant.old, mutant.new), encoding="utf-8")
        return _failed(copy, mutant.tests) is None
    finally:
        path.write_text(whole, encoding="utf-8")


def _failed(copy: Path, tests: Sequence[str]) -> str | None:
    """What the tests say where they fail; None: they pass."""
    command = [sys.executable, "-B", "-m", "pytest", "-q", "-x", "-n", "0", *tests]
    try:
        done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return "they hang"
    if done.returncode not in (0, 1):
        raise RuntimeError(f"pytest ended with {done.returncode}: {done.stdout[-500:]}{done.stderr[-500:]}")
    return done.stdout[-1_000:] if done.returncode else None

"""The suite, tried on purpose-made faults: each mutant is one small wrong edit of the deciding code, in a copy of it.

A mutant that the tests of tests/rollout/ let pass is a hole in them. The copy's own, unchanged code must pass first.
"""

import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
TESTS = ("test_moving_on.py", "test_decide.py", "test_evidence.py", "test_budget.py", "test_exclusion.py")


@dataclass(frozen=True)
class Mutant:
    name: str
    file: str  # in pipelines/rollout/
    old: str
    new: str


MUTANTS = (
    Mutant("> for >= at 1/alpha", "decide.py", "if total < policy.bar:", "if total <= policy.bar:"),
    Mutant("proof that it is worse is not looked at", "decide.py", "worse = _worse(state, policy) or ", "worse = "),
    Mutant("no cap on what a stage spends", "decide.py", "_spent(state, observed, policy) or ", ""),
    Mutant("given up though the champion fails, too", "decide.py", "fuses <= REARMS or not healthy", "fuses <= REARMS"),
    Mutant("a stage is skipped", "decide.py", "stage = state.stage + 1 if", "stage = state.stage + 2 if"),
    Mutant("inconclusive passes", "decide.py", "if found < policy.stage_bar:", "if found < -policy.stage_bar:"),
    Mutant("moves on blind", "decide.py", "if requests < policy.stage_requests:", "if requests < 0:"),
    Mutant("moves on at once", "decide.py", "observed.now - state.since < policy.stage_seconds", "False"),
    Mutant("moves on without news", "decide.py", "if last is None or observed.now - last > ", "if last and last > 1e99 + "),
    Mutant("moves on in an incident", "budget.py", "return recent.bad > ", "return recent.bad > 1e9 * "),
    Mutant("moves on while suspect", "decide.py", "if log < math.log(policy.suspicion):", "if log < policy.bar:"),
    Mutant("an approval past its gate's end", "decide.py", "observed.now >= gate.expires_at", "observed.now > gate.expires_at"),
    Mutant("an approval of other evidence", "decide.py", "approval.digest == gate.digest and ", ""),
    Mutant("an approval from before the gate", "decide.py", "gate.opened_at <= approval.at < gate", "approval.at < gate"),
    Mutant("approved whatever happened since", "decide.py", "        if unsafe:\n", "        if False:\n"),
    Mutant("starts on a spent budget", "decide.py", "if share < least", "if share < -1e9"),
    Mutant("every bad answer of a user is bet on", "evidence.py", "new=key not in users", "new=True"),
    Mutant("one game's users in the other", "evidence.py", 'return f"{name}:pair:', 'return f"{name}:'),
    Mutant("the old share just after a change", "evidence.py", "largest = max(largest, share)", "largest = share"),
    Mutant("other versions' answers count", "evidence.py", "if event.version != (", "if event.version == '' != ("),
    Mutant("late answers count in the stage", "evidence.py", "current = event.at >= evidence.since", "current = True"),
    Mutant("alpha is spent in each SLI", "evidence.py", "- math.log(len(evidence.slis))", ""),
    Mutant("the champion's failures cost no wealth", "bets.py", 'math.log(r) if arm == "canary" else 0.0', "math.log(r)"),
    Mutant("the champion's rate excuses all", "exclusion.py", "min(_log_below(canary", "max(_log_below(canary"),
)


def survivors() -> list[str]:
    """The mutants that no test noticed, by name.

    Raises:
        RuntimeError: the unchanged code fails the tests, or a mutant's text is not in the code any more.
    """
    with tempfile.TemporaryDirectory(prefix="seqline-mutants-") as folder:
        copy = Path(folder)
        for part in ("pipelines", "tests"):
            shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        if not _pass(copy):
            raise RuntimeError("the tests fail on the unchanged code: no mutant can be judged")
        return [mutant.name for mutant in MUTANTS if _survives(mutant, copy)]


def _survives(mutant: Mutant, copy: Path) -> bool:
    path = copy / "pipelines" / "rollout" / mutant.file
    whole = path.read_text(encoding="utf-8")
    if whole.count(mutant.old) != 1:
        raise RuntimeError(f"mutant {mutant.name}: {mutant.file} holds its text {whole.count(mutant.old)} times, not once")
    try:
        path.write_text(whole.replace(mutant.old, mutant.new), encoding="utf-8")
        return _pass(copy)
    finally:
        path.write_text(whole, encoding="utf-8")


def _pass(copy: Path) -> bool:
    tests = [f"tests/rollout/{name}" for name in TESTS]
    command = [sys.executable, "-B", "-m", "pytest", "-q", "-x", "-n", "0", "--noconftest", *tests]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"pytest ended with {done.returncode}: {done.stdout[-500:]}{done.stderr[-500:]}")
    return done.returncode == 0

"""Presses of Promote model that must not count, against real gates: stale, replayed, of the wrong version, racing, forged.

A storm takes one model through its rollout; at each point some presses come that are no approval there. `Storm.pressed` keeps
each with its kind, so that afterwards every one of them can be asked for its verdict.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import cycle, islice

from pipelines.registry import Registry
from pipelines.registry.approval import EVIDENCE, VERDICT, verdict_of
from pipelines.rollout import controller
from pipelines.rollout.controller import Outcome
from pipelines.rollout.holding import freeze, resume
from pipelines.rollout.policy import Action
from pipelines.rollout.status import rollback
from pipelines.rollout.store import Store
from pipelines.spec import Spec
from tests.rollout import page
from tests.rollout.test_controller import drive, first_champion
from tests.rollout.traffic import TICK, World, same

VERSIONS = 3  # 1 becomes the champion, 2 is rolled out, 3 is another candidate
SHORT = {"approval_days": 200 / 86_400}  # of the first gate, so that it expires


@dataclass
class Storm:
    """One model's rollout and what was pressed in it. `each`: presses at a point; `replay`: tags of an approval elsewhere."""

    store: Store
    registry: Registry
    name: str
    each: int
    replay: Mapping[str, str] = field(default_factory=dict)
    pressed: dict[str, str] = field(default_factory=dict)  # number of NAME-prod -> kind
    rightful: list[str] = field(default_factory=list)  # presses of the right page at the right time: just one may count

    def __post_init__(self) -> None:
        page.register(self.registry, self.name, VERSIONS)
        spec = page.spec_of(self.name)
        self.spec: Spec = spec.model_copy(update={"rollout": spec.rollout.model_copy(update=SHORT)})
        self.world = World(same(0.0))
        self.now = first_champion(self.store, self.registry, self.spec)

    def tick(self) -> Outcome:
        self.now += TICK
        page.journal(self.store, self.name, self.world, self.now)
        return controller.tick(self.store, self.registry, self.spec, self.now)

    def until(self, reached: Callable[[Outcome], bool]) -> None:
        self.now, _ = drive(self.store, self.registry, self.spec, self.world, self.now, reached)

    def page_tags(self, version: str) -> dict[str, str]:
        return dict(self.registry.client.get_model_version(self.name, version).tags)

    def press(self, kind: str, source: str, tags: Mapping[str, str]) -> str:
        run = self.registry.client.get_model_version(self.name, "2").run_id
        made = self.registry.client.create_model_version(f"{self.name}-prod", source, run, tags=dict(tags))
        self.pressed[str(made.version)] = kind
        return str(made.version)

    def presses(self, kind: str, *bodies: tuple[str, Mapping[str, str]]) -> None:
        """`each` presses, one body after the other."""
        for source, tags in islice(cycle(bodies), self.each):
            self.press(kind, source, tags)

    @property
    def right(self) -> tuple[str, dict[str, str]]:
        """What the waiting version's page would post now."""
        return f"models:/{self.name}/2", self.page_tags("2")


def before_the_gate(storm: Storm) -> None:
    controller.open(storm.store, storm.name, "2", "1", storm.now)
    storm.presses("before any gate", storm.right, (storm.right[0], {EVIDENCE: "0" * 64}))
    storm.tick()
    storm.until(lambda outcome: outcome.waiting_for_approval)


def wrong(storm: Storm) -> None:
    source, tags = storm.right
    digest, name = tags[EVIDENCE], storm.name
    run = storm.registry.version(name, "2").run_id
    others = (f"models:/{name}/1", f"models:/{name}/3", f"models:/{name}-prod/1", f"runs:/{run}/model")
    storm.presses("wrong version", *((other, tags) for other in others))
    storm.presses("replayed from another gate", (source, storm.replay), (source, {EVIDENCE: "f" * 64}))
    number = len(storm.pressed) + 2
    forged = {VERDICT: f"{number}: accepted"}
    storm.presses(
        "forged",
        (source, {}), (source, {EVIDENCE: digest.upper()}), (source, {EVIDENCE: digest[:12]}),
        (source, {EVIDENCE: digest + " "}), (f"models:/{name}/3", tags | forged),
    )  # fmt: skip
    storm.tick()


def stale(storm: Storm) -> None:
    """The gate expires and is opened anew, for a week; whoever has the old page still open presses."""
    old, storm.spec = storm.right, page.spec_of(storm.name)
    storm.until(lambda outcome: outcome.action is Action.OPEN_GATE)
    storm.presses("of an expired gate", old)
    storm.tick()


def while_frozen(storm: Storm) -> None:
    freeze(storm.store, storm.name, "audit", storm.now, "ann")
    storm.presses("while frozen", storm.right)
    storm.tick()
    resume(storm.store, storm.name, "", storm.now, "ann")
    storm.tick()


def racing_one_another(storm: Storm) -> None:
    """Several people press the right page at the same moments, while the controller ticks: the first counts."""
    source, tags = storm.right

    def press(_: int) -> str:
        number = storm.press("one of several at once", source, tags)
        storm.rightful.append(number)
        return number

    with ThreadPoolExecutor(3) as pool:
        made = [pool.submit(press, i) for i in range(storm.each)]
        while not all(one.done() for one in made):
            storm.tick()
    for _ in range(3):
        storm.tick()
    storm.presses("after the promotion", (source, tags))
    storm.tick()


def racing_a_rollback(storm: Storm) -> None:
    """People press while another one rolls back."""
    source, tags = storm.right
    said = rollback(storm.store, storm.name, "odd answers", storm.now, "bob")
    assert "version 1 serves everybody" in said
    with ThreadPoolExecutor(3) as pool:
        made = [pool.submit(storm.press, "beside a rollback", source, tags) for _ in range(storm.each)]
        while not all(one.done() for one in made):
            storm.tick()
    storm.tick()
    storm.presses("after the rollback", (source, tags))
    storm.tick()


def verdicts(storm: Storm) -> dict[str, tuple[str, str | None, bool]]:
    """Number of NAME-prod -> (kind, verdict, whether its page says that it changes nothing and why)."""
    found = {}
    for made in storm.registry.client.search_model_versions(f"name = '{storm.name}-prod'", max_results=1_000):
        if (kind := storm.pressed.get(str(made.version))) is not None:
            verdict = verdict_of(made)
            reason = (verdict or "").removeprefix("refused: ")
            shown = (made.description or "").startswith("## Not accepted") and reason in (made.description or "")
            found[str(made.version)] = (kind, verdict, shown)
    return found

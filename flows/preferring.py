"""People's corrections on their way into a retrain: triples ──▶ raw ──▶ clean ──▶ preferences ──▶ a round after the training.

Where there are too few of them the retrain goes on without the round, and says so.
"""

import json
from typing import TYPE_CHECKING

from flows.settings import Settings
from pipelines import artifact
from pipelines.sources import labels
from pipelines.spec import Privacy, Spec

if TYPE_CHECKING:
    from flows.prepare import Prepared
    from pipelines.artifact import Preferences, Tokens, Weights


def seen(spec: Spec, settings: Settings) -> str | None:
    """What the registry holds of preferences now, for the key of a retrain; None where the spec asks for none."""
    return artifact.digest(labels.preferred(spec.name, settings.source_urls)) if spec.preferences else None


def gathered(spec: Spec, prepared: "Prepared", settings: Settings) -> "Preferences | None":
    """What people corrected of the model's answers, scrubbed as its pairs are; None where the spec asks for none.

    None too, said in a line, where nobody has corrected anything.

    Raises:
        Transient: the registry does not answer. GateClosed: most of the corrections look like no honest ones.
    """
    from flows.steps import console, step
    from pipelines import dataset
    from pipelines.dataset.preferences import gather
    from pipelines.scrub.step import Keys, scrub

    if spec.preferences is None:
        return None
    beside = prepared.raw if spec.preferences.screened else None
    triples = labels.preferred(spec.name, settings.source_urls, beside)
    if not triples:
        line = f"preferences: nobody has corrected an answer of {spec.name} yet: no round, the weights stay as they are"
        console.print(line, soft_wrap=True, markup=False)
        return None
    kept = settings.folder("work", spec.name, "corrections")  # apart: the newest clean-* of work/NAME is the data's
    quarantine = settings.quarantine(spec.name)
    raw = step("ingest the preferences", labels.ingest)(triples, settings.source_cache, quarantine)
    forgotten = dataset.forgotten(settings.project, spec.name)
    applied = policy(Privacy.model_validate(json.loads((prepared.clean.path / "policy" / "privacy.json").read_text())))
    clean = step("scrub the preferences", scrub)(raw, applied, kept, quarantine, Keys(settings.hmac_key), forgotten, workers=1)
    make = step("gather the preferences", gather)
    return make(raw, clean, prepared.pairs, spec.preferences.held_out, spec.data.splits.near_duplicate, kept)


def policy(applied: Privacy) -> Privacy:
    """How the pairs were scrubbed, for a handful of corrections.

    They are too few to learn from them what is nobody's data, or to distil a tagger on; what cannot be scrubbed is left out
    and counted, however much it is; and no vault is kept of them.
    """
    level = "exact" if applied.level == "fast" else applied.level
    return applied.model_copy(update={"level": level, "learn_allow": False, "quarantined": 1.0, "vault": False})


def preferred(
    spec: Spec, weights: "Weights", tokens: "Tokens", preferences: "Preferences | None", settings: Settings
) -> "Weights":
    """`weights` after the round; as they are where there is none."""
    from flows.steps import console, step
    from pipelines.training.preferences import prefer, too_few

    if spec.preferences is None or preferences is None:
        return weights
    if why_not := too_few(preferences, spec.preferences):
        console.print(why_not, soft_wrap=True, markup=False)
        return weights
    work = settings.folder("work", spec.name)
    return step("learn the preferences", prefer)(weights, tokens, preferences, spec.preferences, spec.training, work)

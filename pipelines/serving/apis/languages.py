"""The languages of a translation spec, and which one a text is in."""

import asyncio
from functools import cache
from typing import Any

from pipelines.serving.intake import Refused
from pipelines.spec import Spec

NAMES = {"en": "English", "de": "German", "fr": "French"}
ENOUGH = 20_000  # characters that tell the language


def pair(spec: Spec) -> tuple[str, str]:
    """(source, target) of a translation spec; the target is the source's where the spec names none."""
    return spec.privacy.language, spec.privacy.target_language or spec.privacy.language


def check(spec: Spec, source: str | None, target: str | None) -> None:
    """Is this the pair that the model translates? `source` None means: find out, which a one-way model need not.

    Raises:
        Refused: 400, naming the pair there is.
    """
    here = pair(spec)
    for name, wanted, there in (("source", source, here[0]), ("target", target, here[1])):
        if wanted is not None and wanted.casefold().partition("-")[0] != there:
            raise Refused(400, f"{name}: this model translates {here[0]} into {here[1]} only")


async def detect(text: str) -> tuple[str, float]:
    """(ISO 639-1 code, probability) of the likeliest language."""
    return await asyncio.to_thread(_detect, text[:ENOUGH])


def _detect(text: str) -> tuple[str, float]:
    code, probability = _identifier().classify(text)
    return str(code), float(probability)


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)

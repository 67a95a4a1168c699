"""Traffic made up by a seed: records of a kind, a few sentences about it, now and then a person."""

import random

from pipelines.monitoring import Text, Tools

KINDS = ("fonts", "games", "libs", "mail", "net", "perl")
OF_KIND = {
    "fonts": "glyphs truetype serif letters script", "games": "player levels puzzle arcade score",
    "libs": "headers runtime symbols linking bindings", "mail": "inbox server delivery spam message",
    "net": "packets router proxy protocol traffic", "perl": "module class methods cpan objects",
}  # fmt: skip
ANYWHERE = "package provides simple tools for users with many options written in portable code to make work easy"
GERMAN = "dieses paket enthält werkzeuge für benutzer mit vielen möglichkeiten und ist einfach in der handhabung"


def stanza(rng: random.Random, kinds: tuple[str, ...] = KINDS, words: str = ANYWHERE, length: int = 12) -> str:
    kind = rng.choice(kinds)
    said = rng.choices([*words.split(), *OF_KIND[kind].split()], k=rng.randint(length - 4, length + 4))
    person = "\nMaintainer: <PERSON_1>" if rng.random() < 0.5 else ""
    return f"Package: {kind}-{rng.randrange(10**9)}\nSection: {kind}{person}\nDescription: {' '.join(said)}"


def stanzas(n: int, seed: int, **how: object) -> list[str]:
    rng = random.Random(seed)
    return [stanza(rng, **how) for _ in range(n)]  # type: ignore[arg-type]


def language(text: str) -> str:
    """A detector that knows two languages by one word."""
    return "de" if " und " in text or " ist " in text or "paket" in text else "en"


def traffic(texts: list[str]) -> list[Text]:
    return [Text(text, 1_000.0 + at) for at, text in enumerate(texts)]


TOOLS = Tools(language=language)

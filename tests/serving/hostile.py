"""A recognizer of the user's own that misbehaves on certain texts, as one that meets its catastrophic input does."""

import os
import time
from typing import Any

from presidio_analyzer import EntityRecognizer, RecognizerResult

HANG, DIE, FAIL = "a text that hangs it", "a text that ends its process", "a text that it fails on"


class Hostile(EntityRecognizer):
    def __init__(self) -> None:
        super().__init__(supported_entities=["SPELL"])

    def load(self) -> None:
        pass

    def analyze(self, text: str, entities: list[str], nlp_artifacts: Any = None) -> list[RecognizerResult]:
        del entities, nlp_artifacts
        while HANG in text:
            time.sleep(0.01)
        if DIE in text:
            os._exit(1)
        if FAIL in text:
            raise ValueError(text)
        at = text.find("abracadabra")
        return [RecognizerResult("SPELL", at, at + 11, 0.9)] if at >= 0 else []

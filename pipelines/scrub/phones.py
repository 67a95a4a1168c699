"""PhoneRecognizer asks `phonenumbers` about every group of digits once for each of eight regions. Most have too few digits."""

import copy
import re
from collections.abc import Mapping
from typing import Any

from phonenumbers import PhoneMetadata, PhoneNumberMatcher
from phonenumbers.phonenumberutil import _VALID_PUNCTUATION

ABROAD = 7  # digits of the shortest number abroad that is written without a plus: 00, a country code of one, four
WITH_PLUS = 5
RUN = re.compile(rf"\d(?:[{_VALID_PUNCTUATION}]{{0,4}}\d)*", re.IGNORECASE)


class Matcher(PhoneNumberMatcher):
    """Finds what its parent finds, but does not parse what has too few digits to be valid."""

    def __init__(self, text: str, region: str, leniency: int, least: int) -> None:
        super().__init__(text, region, leniency=leniency)
        self._least = least

    def _parse_and_verify(self, candidate: str, offset: int) -> Any:
        # letters count: three of them make a vanity number, in which each stands for a digit
        digits = sum(map(str.isalnum, candidate))
        with_plus = "+" in candidate or "\uff0b" in candidate
        if digits < (WITH_PLUS if with_plus else self._least):
            return None
        return super()._parse_and_verify(candidate, offset)


class Phones:
    """Presidio's PhoneRecognizer, for the regions whose numbers may stand in a text.

    Raises:
        ValueError: it has regions, or a leniency, for which the bounds here are not known to hold.
    """

    def __init__(self, recognizer: Any) -> None:
        if not set(recognizer.supported_regions) <= set(recognizer.DEFAULT_SUPPORTED_REGIONS) or recognizer.leniency < 1:
            raise ValueError("regions or leniency of the user's own")
        self._recognizer = recognizer
        self._least = {region: _least(region) for region in recognizer.supported_regions}
        self._variants: dict[tuple[str, ...], Any] = {}

    def recognizers(self, text: str) -> list[Any]:
        """The recognizer, for the regions that need a look; or none."""
        most, abroad = 0, False
        for run in RUN.finditer(text):
            digits = sum(map(str.isalnum, run[0]))
            most = max(most, digits)
            # up to two of plus signs and brackets, each with up to four marks after it, may stand before the digits
            if digits >= WITH_PLUS and not abroad:
                before = text[max(run.start() - 12, 0) : run.start()]
                abroad = "+" in before or "\uff0b" in before
        regions = tuple(region for region, least in self._least.items() if abroad or most >= least)
        if regions and regions not in self._variants:
            self._variants[regions] = _Quick(self._recognizer, regions, self._least)
        return [self._variants[regions]] if regions else []


class _Quick:
    """PhoneRecognizer.analyze with the matcher above."""

    def __init__(self, recognizer: Any, regions: tuple[str, ...], least: Mapping[str, int]) -> None:
        self._recognizer = copy.copy(recognizer)
        self._regions, self._least = regions, least
        self.id, self.name = recognizer.id, recognizer.name

    def analyze(self, text: str, entities: Any, nlp_artifacts: Any) -> list[Any]:
        from presidio_analyzer import EntityRecognizer

        del entities
        stock = self._recognizer
        found = [
            stock._get_recognizer_result(match, text, region, nlp_artifacts)
            for region in self._regions
            for match in Matcher(text, region, stock.leniency, self._least[region])
        ]
        return list(EntityRecognizer.remove_duplicates(found))


def _least(region: str) -> int:
    metadata: Any = PhoneMetadata.metadata_for_region(region)
    return int(min(*metadata.general_desc.possible_length, ABROAD))

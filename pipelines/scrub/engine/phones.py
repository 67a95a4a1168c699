"""PhoneRecognizer asks `phonenumbers` about every group of digits once for each of eight regions. Most can be valid in none.

What is asked here first, once for all regions, is necessary for a number to be valid in a region: its digits without an
extension match one of the patterns of the region's country, and a national prefix stands where its format needs one.
"""

import re
from typing import Any

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata, PhoneNumberMatcher, phonenumbermatcher, phonenumberutil

VALID = 1  # Leniency.VALID; at POSSIBLE the patterns do not count
LEAST = 4  # digits; no country of the regions known here has shorter numbers
ABROAD = 7  # digits of the shortest number abroad that is written without a plus: 00, a country code of one, four
PLUS = ("+", "\uff0b")
_PUNCTUATION = phonenumberutil._VALID_PUNCTUATION
PLAIN = re.compile(r"[-\d./()\[\] ]*", re.ASCII)  # nothing that marks an extension or a letter that is a digit
ENOUGH = re.compile(rf"\d(?:[{_PUNCTUATION}]{{0,4}}\d){{{LEAST - 1}}}", re.IGNORECASE)


class Phones:
    """The spans of Presidio's PhoneRecognizer.

    Raises:
        ValueError: it has regions, or a leniency, for which the bounds here are not known to hold.
    """

    def __init__(self, recognizer: Any) -> None:
        if not set(recognizer.supported_regions) <= set(recognizer.DEFAULT_SUPPORTED_REGIONS) or recognizer.leniency < VALID:
            raise ValueError("regions or leniency of the user's own")
        self._recognizer = recognizer
        self._plans = {region: _Plan(region) for region in recognizer.supported_regions}
        self._all = frozenset(self._plans)
        self._whole: dict[str, frozenset[str]] = {}
        self._part: dict[str, frozenset[str]] = {}

    def forget(self) -> None:
        """Drop what is remembered of the texts."""
        self._whole.clear()
        self._part.clear()

    def spans(self, text: str) -> list[tuple[int, int, float]]:
        """(start, end, score) of each number; one in another may be among them."""
        if not ENOUGH.search(text):
            return []
        wanted: set[str] = set()
        # until a region finds its first number, its candidates are those of all regions
        for found in phonenumbermatcher._PATTERN.finditer(text):
            candidate = found[0]
            if len(candidate) >= LEAST:
                wanted |= self._regions(candidate)
        score, leniency = self._recognizer.SCORE, self._recognizer.leniency
        spans = {
            (match.start, match.end, score)
            for region in self._plans
            if region in wanted
            for match in _Matcher(text, region, leniency, self)
        }
        return sorted(spans)

    def _regions(self, candidate: str) -> frozenset[str]:
        """The regions in which a candidate, or a part of it that the matcher would try, may be a number."""
        known = self._whole.get(candidate)  # another thread may `forget` at any time
        if known is None:
            tried = _Tried()
            # what stands after a second number's start is a candidate of its own, which finditer does not show
            second = phonenumberutil._SECOND_NUMBER_START_PATTERN.search(candidate)
            tried._extract_match(candidate, 0)
            known = self._all if second else frozenset().union(*map(self.possible, tried.parts))
            self._whole[candidate] = known
        return known

    def possible(self, part: str) -> frozenset[str]:
        """The regions in which `part`, as a whole, may be a valid number."""
        known = self._part.get(part)
        if known is None:
            known = self._part[part] = self._possible(part)
        return known

    def _possible(self, part: str) -> frozenset[str]:
        if sum(map(str.isalnum, part)) < LEAST:
            return frozenset()
        regions = self._all if any(plus in part for plus in PLUS) else self._by_digits(part)
        return frozenset(region for region in regions if self._is_valid(part, region))

    def _by_digits(self, part: str) -> frozenset[str]:
        if PLAIN.fullmatch(part):
            digits = typed = re.sub(r"\D", "", part)
        else:  # as phonenumbers.parse does, up to where it looks at the region
            number = phonenumberutil._build_national_number_for_parsing(part)
            digits = phonenumberutil._normalize(phonenumberutil._maybe_strip_extension(number)[1])
            typed = phonenumberutil.normalize_digits_only(part)
        return frozenset(region for region, plan in self._plans.items() if plan.may_be_valid(digits, typed))

    def _is_valid(self, part: str, region: str) -> bool:
        """Whether it is valid, wherever it may stand; what brackets and neighbours forbid is left to the matcher."""
        try:
            number: Any = phonenumberutil.parse(part, region, keep_raw_input=True)
        except phonenumberutil.NumberParseException:
            return False
        return bool(phonenumbermatcher._verify(VALID, number, part, _Tried()))


class _Tried(PhoneNumberMatcher):
    """Notes what a matcher tries to parse of a candidate when nothing of it is a number."""

    def __init__(self) -> None:
        super().__init__("", None)
        self.parts: list[str] = []

    def _parse_and_verify(self, candidate: str, offset: int) -> None:
        del offset
        self.parts.append(candidate)


class _Matcher(PhoneNumberMatcher):
    """Finds what its parent finds, but does not parse what cannot be valid."""

    def __init__(self, text: str, region: str, leniency: int, phones: Phones) -> None:
        super().__init__(text, region, leniency=leniency)
        self._phones = phones

    def _parse_and_verify(self, candidate: str, offset: int) -> Any:
        if self.preferred_region not in self._phones.possible(candidate):
            return None
        return super()._parse_and_verify(candidate, offset)


class _Plan:
    """The numbering plan of a region's country, and of those that share its calling code."""

    def __init__(self, region: str) -> None:
        metadata: Any = PhoneMetadata.metadata_for_region(region)
        self._code = str(metadata.country_code)
        sharing = COUNTRY_CODE_TO_REGION_CODE[metadata.country_code]
        self._countries: list[Any] = [PhoneMetadata.metadata_for_region(each) for each in sharing]
        self._region = metadata
        patterns = (country.general_desc.national_number_pattern for country in self._countries)
        self._general = re.compile("|".join(f"(?:{pattern})" for pattern in patterns))
        self._abroad = re.compile(metadata.international_prefix)
        self._prefix = re.compile(metadata.national_prefix_for_parsing)
        self._least = min(length for country in self._countries for length in country.general_desc.possible_length)
        self._formats = [_format(each) for each in self._countries[0].number_format]

    def may_be_valid(self, digits: str, typed: str) -> bool:
        """Whether a number without a plus may be valid: `digits` without its extension, `typed` with it."""
        if len(digits) >= ABROAD and self._abroad.match(digits):
            return True
        if len(digits) < self._least:
            return False
        prefixed = self._prefix.match(typed) is not None
        if (prefixed or not self._needs_prefix(digits)) and self._valid(digits):
            return True
        if prefixed and self._valid(self._less_prefix(digits)):
            return True
        if not digits.startswith(self._code):
            return False
        # phonenumbers takes a national prefix off with the country's code, and then another
        once = self._less_prefix(digits[len(self._code) :])
        return self._valid(once) or self._valid(self._less_prefix(once))

    def _less_prefix(self, digits: str) -> str:
        return str(phonenumberutil._maybe_strip_national_prefix_carrier_code(digits, self._region)[1])

    def _valid(self, digits: str) -> bool:
        if not self._general.fullmatch(digits):
            return False
        unknown = phonenumberutil.PhoneNumberType.UNKNOWN
        return any(phonenumberutil._number_type_helper(digits, country) != unknown for country in self._countries)

    def _needs_prefix(self, digits: str) -> bool:
        """As phonenumbermatcher._is_national_prefix_present_if_required has it."""
        for leading, pattern, needs in self._formats:
            if leading.match(digits) and pattern.fullmatch(digits):
                return needs
        return False


def _format(metadata: Any) -> tuple[re.Pattern[str], re.Pattern[str], bool]:
    """Of a number format: how it begins, what it is, and whether it is written with the national prefix."""
    rule = metadata.national_prefix_formatting_rule
    needs = bool(rule) and not metadata.national_prefix_optional_when_formatting
    needs = needs and not phonenumberutil._formatting_rule_has_first_group_only(rule)
    leading = metadata.leading_digits_pattern[-1] if metadata.leading_digits_pattern else ""
    return re.compile(leading), re.compile(metadata.pattern), needs

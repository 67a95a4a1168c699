"""What a model costs: each version's answers by the way they are decoded, each retrain, the month and where it is going. Pure.

A gateway charges the decoding seconds of an engine's thread as they are spent (pipelines/serving/parts.py) and shows their sum
over the last hour (`seqline_spend`), of all versions together. Which version spent them is estimated from two histograms that
know nothing of each other: a request's share of its batch is `seqline_decode_seconds` over `seqline_batch_size`, and a batch
of b texts is taken to last as long as FIXED + b of them. (Of a request with several texts they see the largest batch: that is
too little.) An hour's estimates are then scaled to its spend, where that is known: they add up to it. How a version's seconds
divide among ways to decode is told by its sampled traces (Horvitz-Thompson 1952: each counts for as many as its weight says),
each in the measure of its `work`. Answers of the cache count like others: ways that hit it equally often compare rightly.

Measured (four runs of real gateways, 2 versions, 4 ways, 30 s each, on a machine at load 15): the sum was exact; the larger
version was off by 1 to 5 %, the smaller, of a few seconds, by 3 to 28 %; what 1,000 requests of a way with over 50 cost was off
by 9 % in the median, and by 59 % where a decoding thread got no CPU for seconds.

Seconds are wall seconds, prices are for an hour, `at` is in seconds since the epoch, months are UTC's.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby, pairwise

HOUR, DAY = 3_600.0, 86_400.0
FIXED = 2.7  # texts that a batch costs beside its own: 6 ms against 2.2 ms a text (pipelines/serving/answering.py)
BEAMS = 3.0  # a text costs as much as decoding this many beams beside its own: one to four to eight are as 1 to 1.7 to 2.8
DRAWN = 10  # beams that a drawn text is worth: it is decoded by itself, which costs three times what a greedy one does
READ = 0.25  # of a token written costs one that is read
EDGES = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)  # of the histogram of batches (telemetry.BATCH)
LARGEST = 12  # texts in a batch (answering.BATCH_TEXTS)
FEWEST = 10  # drawn traces of a way to decode, for an interval
Z = 1.96  # 95 %
SERVING_DAYS, RETRAIN_DAYS = 7.0, 28.0  # whose mean a forecast goes on with
FEWEST_DAYS = 3  # for an interval of the forecast
ALL = "any"  # decoding of what no trace tells apart


@dataclass(frozen=True)
class Counted:
    """What a gateway counted of a version in a while.

    `requests` were answered (mirrored and cached ones, too), `decoded` of them by an engine, in batches that took `decoding`
    seconds; `batches` says how many were in a batch of up to so many texts, and of more than the edge before. `tokens` were
    read and written.
    """

    requests: float
    decoded: float = 0.0
    decoding: float = 0.0
    batches: Mapping[float, float] = field(default_factory=dict)
    tokens: float = 0.0

    @property
    def seconds(self) -> float:
        """Of an engine's thread, estimated."""
        counted = sum(self.batches.values())
        if not self.decoded or not counted:
            return self.decoding
        batches = sum(count / _texts(edge) for edge, count in self.batches.items()) / counted  # for each request
        company = sum(count * _texts(edge) for edge, count in self.batches.items()) / counted
        return self.decoding * (FIXED * batches + 1) / (FIXED + company)


@dataclass(frozen=True)
class Hour:
    """The hour that ends at `at`, by version. `spend` is None where it is not known: a gateway (re)started in it."""

    at: float
    versions: Mapping[str, Counted]
    spend: float | None = None


@dataclass(frozen=True)
class Prices:
    """`engine` and `training` are for an hour, `tokens` for 1,000 tokens of a managed version, by its name."""

    currency: str
    engine: float = 0.0
    training: float = 0.0
    tokens: Mapping[str, float] = field(default_factory=dict)

    def of(self, version: str, counted: Counted, seconds: float) -> float:
        """What a version's answers cost."""
        if version in self.tokens:
            return counted.tokens * self.tokens[version] / 1_000
        return seconds * self.engine / HOUR


@dataclass(frozen=True)
class Traced:
    """A sampled answer: it stands for `weight` like it. `beam` is None of one that was drawn (temperature above 0)."""

    version: str
    beam: int | None
    weight: float
    tokens_in: int
    tokens_out: int

    @property
    def decoding(self) -> str:
        """How it was decoded."""
        return "drawn" if self.beam is None else "greedy" if self.beam == 1 else f"beam {self.beam}"

    @property
    def work(self) -> float:
        """What it cost an engine, against other answers of its version."""
        return (READ * self.tokens_in + self.tokens_out + 1) * (BEAMS + (DRAWN if self.beam is None else self.beam))


@dataclass(frozen=True)
class Line:
    """What answers of a version, decoded in one way, came to. `interval` (95 %) is of `per_1000`, by the traces' sampling
    alone: not the error of the estimate itself."""

    version: str
    decoding: str
    requests: float
    seconds: float
    per_1000: float | None
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Retrain:
    """A retrain that ended at `at`, after `seconds` in its steps; `version` is None where none came of it."""

    version: str | None
    at: float
    seconds: float
    cost: float


@dataclass(frozen=True)
class Month:
    """The calendar month: `spent` so far, `forecast` at its end, what it may cost; `interval` (95 %) is of the forecast, by how
    much the days differed."""

    spent: float
    forecast: float
    budget: float | None
    interval: tuple[float, float] | None = None

    @property
    def over(self) -> bool:
        """Is it forecast to cost more than it may?"""
        return self.budget is not None and self.forecast > self.budget


def engine_seconds(hours: Sequence[Hour], prices: Prices) -> list[dict[str, float]]:
    """Seconds of the engines' threads by version, for each hour: estimates, scaled to what was spent.

    Hours whose spend is not known are scaled as the others are on the average. Nothing is, without a price.
    """
    guessed = [
        {version: counted.seconds for version, counted in hour.versions.items() if version not in prices.tokens}
        for hour in hours
    ]
    known = [_spent_seconds(hour, prices) for hour in hours]
    told = [(sum(guess.values()), spent) for guess, spent in zip(guessed, known, strict=True) if spent is not None]
    total = sum(guess for guess, spent in told if spent > 0)
    usual = sum(spent for guess, spent in told if guess > 0) / total if total else 1.0
    scaled = []
    for guess, spent in zip(guessed, known, strict=True):
        own = sum(guess.values())
        by = spent / own if spent and own else usual
        scaled.append({version: seconds * by for version, seconds in guess.items()})
    return scaled


def lines(hours: Sequence[Hour], traces: Sequence[Traced], prices: Prices) -> list[Line]:
    """By version and decoding, the newest version first; where no trace tells how, a version has one line."""
    seconds: dict[str, float] = {}
    counted: dict[str, Counted] = {}
    for hour, spent in zip(hours, engine_seconds(hours, prices), strict=True):
        for version, found in hour.versions.items():
            seconds[version] = seconds.get(version, 0.0) + spent.get(version, 0.0)
            counted[version] = _added(counted.get(version), found)
    ordered = sorted(counted, key=lambda name: (name.isdigit(), int(name) if name.isdigit() else 0, name), reverse=True)
    told = {version: list(of) for version, of in groupby(sorted(traces, key=lambda t: t.version), key=lambda t: t.version)}
    found_lines: list[Line] = []
    for version in ordered:
        if counted[version].requests > 0:
            cost = prices.of(version, counted[version], seconds[version])
            found_lines += _divided(version, counted[version].requests, seconds[version], cost, told.get(version, []))
    return found_lines


def costs(hours: Sequence[Hour], prices: Prices) -> list[tuple[float, float]]:
    """(end, what it cost) of each hour."""
    return [
        (hour.at, sum(prices.of(version, counted, spent.get(version, 0.0)) for version, counted in hour.versions.items()))
        for hour, spent in zip(hours, engine_seconds(hours, prices), strict=True)
    ]


def month(serving: Sequence[tuple[float, float]], retrains: Sequence[Retrain], budget: float | None, now: float) -> Month:
    """The calendar month that `now` is in; its rest is taken to cost as the last days did (SERVING_DAYS, RETRAIN_DAYS)."""
    began, ends = _bounds(now)
    trained = [(each.at, each.cost) for each in retrains]
    spent = sum(cost for at, cost in (*serving, *trained) if began < at <= now)
    left = (ends - now) / DAY
    forecast = spent + left * (_pace(serving, now, SERVING_DAYS, DAY) + _pace(trained, now, RETRAIN_DAYS, SERVING_DAYS * DAY))
    return Month(spent, forecast, budget, _spread([*serving, *trained], spent, left, forecast, now))


def _texts(edge: float) -> float:
    """The texts of a batch in the bucket that ends at `edge`, in the middle: in (4, 8] those of 5 to 8."""
    least = max((each for each in EDGES if each < edge), default=0.0) + 1
    return (least + max(least, min(edge, LARGEST))) / 2


def _spent_seconds(hour: Hour, prices: Prices) -> float | None:
    """What the hour's spend says of the engines' seconds, without that of managed versions."""
    if hour.spend is None or not prices.engine:
        return None
    managed = sum(prices.of(version, each, 0.0) for version, each in hour.versions.items() if version in prices.tokens)
    return max(0.0, hour.spend - managed) * HOUR / prices.engine


def _added(one: Counted | None, other: Counted) -> Counted:
    if one is None:
        return other
    edges = {*one.batches, *other.batches}
    batches = {edge: one.batches.get(edge, 0.0) + other.batches.get(edge, 0.0) for edge in edges}
    sums = (one.requests + other.requests, one.decoded + other.decoded, one.decoding + other.decoding)
    return Counted(*sums, batches, one.tokens + other.tokens)


def _divided(version: str, requests: float, seconds: float, cost: float, traces: Sequence[Traced]) -> list[Line]:
    """A version's requests, seconds and cost, divided as its traces are."""
    weight, work = sum(each.weight for each in traces), sum(each.weight * each.work for each in traces)
    if not weight or not work:
        return [Line(version, ALL, requests, seconds, 1_000 * cost / requests if cost else None, None)]
    found = []
    for decoding in sorted({each.decoding for each in traces}):
        own = [each for each in traces if each.decoding == decoding]
        many = requests * sum(each.weight for each in own) / weight
        share = sum(each.weight * each.work for each in own) / work
        per = 1_000 * cost * share / many if cost else None
        found.append(Line(version, decoding, many, seconds * share, per, _interval(per, decoding, traces)))
    return found


def _interval(per: float | None, decoding: str, traces: Sequence[Traced]) -> tuple[float, float] | None:
    """Of a ratio of estimated totals, by linearisation of its logarithm; each trace was drawn by itself with 1 / weight."""
    own = [each for each in traces if each.decoding == decoding]
    census = all(each.weight <= 1 for each in traces)
    if per is None or (not census and sum(each.weight > 1 for each in own) < FEWEST):
        return None
    many, many_all = (sum(each.weight for each in of) for of in (own, traces))
    work, work_all = (sum(each.weight * each.work for each in of) for of in (own, traces))
    variance = 0.0
    for each in traces:
        inside = each.decoding == decoding
        pull = inside * (each.work / work - 1 / many) - each.work / work_all + 1 / many_all
        variance += each.weight * (each.weight - 1) * pull**2
    wide = math.exp(Z * math.sqrt(max(0.0, variance)))
    return per / wide, per * wide


def _bounds(now: float) -> tuple[float, float]:
    """Beginning and end of the calendar month."""
    first = datetime.fromtimestamp(now, UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    following = first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
    return first.timestamp(), following.timestamp()


def _pace(costs: Iterable[tuple[float, float]], now: float, days: float, least: float) -> float:
    """The mean cost of a day, over the last `days`, or since the first cost if that is later, but over `least` seconds at
    least."""
    known = [(at, cost) for at, cost in costs if at <= now and cost > 0]
    if not known:
        return 0.0
    since_first = now - min(at for at, _ in known)
    window = min(days * DAY, max(least, since_first))
    return sum(cost for at, cost in known if at > now - window or since_first <= window) / (window / DAY)


def _spread(
    costs: Sequence[tuple[float, float]], spent: float, left: float, forecast: float, now: float
) -> tuple[float, float] | None:
    """The forecast's interval: whole days of the last SERVING_DAYS, taken for independent; the mean is as uncertain as they."""
    known = [at for at, cost in costs if cost > 0]
    whole = min(int(SERVING_DAYS), int((now - min(known)) / DAY)) if known else 0
    if whole < FEWEST_DAYS:
        return None
    edges = [now - DAY * back for back in range(whole, -1, -1)]
    days = [sum(cost for at, cost in costs if since < at <= until) for since, until in pairwise(edges)]
    mean = sum(days) / whole
    deviation = math.sqrt(sum((day - mean) ** 2 for day in days) / (whole - 1))
    wide = Z * deviation * math.sqrt(left + left**2 / whole)
    return max(spent, forecast - wide), forecast + wide

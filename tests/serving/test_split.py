"""The split is sticky, nested and fair; a route is applied whole or not at all."""

from hypothesis import given
from hypothesis import strategies as st

from pipelines.rollout.store import Route
from pipelines.serving import split

salts = st.text(max_size=20)
keys = st.text(max_size=40)
weights = st.floats(0, 100)
names = st.sampled_from([None, "1", "2", "3"])
moments, generations = st.floats(0, 10), st.integers(0, 3)
routes = st.builds(
    Route, names, names, weight=weights, shadow=st.booleans(), salt=salts, lease_until=moments, generation=generations
)


def leased(salt: str, weight: float) -> Route:
    return Route("1", "2", weight=weight, salt=salt, lease_until=100.0)


@given(salts, keys)
def test_unit_is_in_the_unit_interval_and_stays(salt: str, key: str) -> None:
    assert 0 <= split.unit(salt, key) < 1
    assert split.unit(salt, key) == split.unit(salt, key)


@given(salts, keys, weights, weights)
def test_raising_the_weight_only_adds_senders(salt: str, key: str, one: float, other: float) -> None:
    low, high = sorted((one, other))
    if split.arm(leased(salt, low), key, 0) == "canary":
        assert split.arm(leased(salt, high), key, 0) == "canary"


@given(salts, keys)
def test_the_ends_are_exact(salt: str, key: str) -> None:
    assert split.arm(leased(salt, 0), key, 0) == "champion"
    assert split.arm(leased(salt, 100), key, 0) == "canary"


def test_the_share_is_the_weight_and_another_salt_draws_anew() -> None:
    senders = [f"user-{n}" for n in range(20_000)]
    one = {s for s in senders if split.arm(leased("one", 25), s, 0) == "canary"}
    two = {s for s in senders if split.arm(leased("two", 25), s, 0) == "canary"}
    assert abs(len(one) / 20_000 - 0.25) < 0.015  # five standard deviations
    assert abs(len(one & two) / 20_000 - 0.0625) < 0.01


@given(keys, st.floats(0, 200))
def test_past_its_lease_the_canary_gets_nothing(key: str, now: float) -> None:
    shadow = Route("1", "2", shadow=True, salt="s", lease_until=100.0)
    if now >= 100:
        assert split.arm(leased("s", 100), key, now) == "champion"
    assert split.mirrored(shadow, now) == (now < 100)


@given(routes, routes, st.frozensets(st.sampled_from("123")))
def test_a_route_is_applied_whole_or_not_at_all(applied: Route, wanted: Route, up: frozenset[str]) -> None:
    settled = split.settle(applied, wanted, up)
    assert settled in (applied, wanted)
    if split.versions(wanted) <= up:
        assert settled == wanted
    if settled == wanted and wanted.generation != applied.generation:
        assert wanted.champion in (None, applied.champion) or wanted.champion in up
        assert wanted.canary in (None, applied.canary) or wanted.canary in up


@given(routes, routes, st.frozensets(st.sampled_from("123")))
def test_a_rollback_never_waits(applied: Route, wanted: Route, up: frozenset[str]) -> None:
    rollback = Route(applied.champion, None, salt=wanted.salt, generation=wanted.generation)
    assert split.settle(applied, rollback, up) == rollback


@given(st.text("0123456789abcdef", min_size=32, max_size=32))
def test_sampling_is_nested(request: str) -> None:
    assert not split.sampled(request, 0)
    assert split.sampled(request, 1)
    if split.sampled(request, 0.1):
        assert split.sampled(request, 0.5)

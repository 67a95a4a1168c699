"""The way of a pair: a real taker on loopback, one that is away, one that refuses, and a guard that is down."""

import asyncio
import socket
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import replace
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from pipelines.serving.pairs import Pair, pairs_of
from pipelines.serving.samples import BOUND, Samples
from tests.serving.judge import Judge

PAIR = Pair("r", "u", "champion", "1", False, "the source", "the answer", 1.5)


@pytest.fixture(scope="module")
def taker() -> Iterator[Judge]:
    running = Judge()
    yield running
    running.close()


def run(work: Callable[[aiohttp.ClientSession], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        async with aiohttp.ClientSession() as http:
            await work(http)

    asyncio.run(main())


def test_what_was_offered_arrives_whole_and_in_order(taker: Judge) -> None:
    lost: list[int] = []

    async def work(http: aiohttp.ClientSession) -> None:
        samples = Samples(taker.url, http, lost.append)
        for number in range(150):
            samples.offer(replace(PAIR, request=f"r{number}", flags=["length"], decoding={"beam": 2}))
        await samples.close()

    run(work)
    assert [pair["request"] for pair in taker.pairs] == [f"r{number}" for number in range(150)]
    assert Pair(**taker.pairs[0]) == replace(PAIR, request="r0", flags=["length"], decoding={"beam": 2})
    assert lost == []


def test_a_taker_that_is_away_costs_the_pairs_and_nothing_else() -> None:
    lost: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    async def work(http: aiohttp.ClientSession) -> None:
        samples = Samples(f"http://127.0.0.1:{port}/pairs", http, lost.append)
        for _ in range(BOUND + 7):
            samples.offer(PAIR)
        assert sum(lost) == 7
        await samples.close()

    run(work)
    assert sum(lost) == BOUND + 7


def test_what_the_taker_answers_is_told_and_what_it_refuses_is_lost() -> None:
    told: list[object] = []
    lost: list[int] = []

    async def answer(request: web.Request) -> web.Response:
        pairs = pairs_of(await request.read())
        return web.json_response({"totals": len(pairs)}, status=202 if pairs[0].request == "good" else 400)

    async def work(http: aiohttp.ClientSession) -> None:
        app = web.Application()
        app.router.add_post("/pairs", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/pairs"
        for request in ("good", "bad"):
            samples = Samples(url, http, lost.append, told=told.append)
            samples.offer(replace(PAIR, request=request))
            await samples.close()
        await runner.cleanup()

    run(work)
    assert (told, lost) == ([{"totals": 1}], [1])


def test_outputs_are_cleaned_first_and_those_that_cannot_be_go_nowhere(taker: Judge) -> None:
    lost: list[int] = []
    taker.pairs.clear()

    async def clean(pairs: Sequence[Pair]) -> list[Pair]:
        return [replace(pair, output="clean") for pair in pairs if pair.request != "stuck"]

    async def work(http: aiohttp.ClientSession) -> None:
        samples = Samples(taker.url, http, lost.append, clean=clean)
        for request in ("a", "stuck", "b", "odd"):
            samples.offer(replace(PAIR, request=request, source="\ud800" if request == "odd" else "fine"))
            if request == "b":
                await asyncio.sleep(0.3)  # one batch; what no JSON can hold is in the next
        await samples.close()

    run(work)
    assert [(pair["request"], pair["output"]) for pair in taker.pairs] == [("a", "clean"), ("b", "clean")]
    assert lost == [1, 1]


def refusal(body: bytes) -> str | None:
    try:
        pairs_of(body)
    except ValueError as error:
        return str(error)
    return None


@given(st.binary(max_size=60))
def test_any_body_is_refused_without_its_content(body: bytes) -> None:
    assert refusal(body) == 'the body must be JSON: {"pairs": [...]}'


def test_a_deep_body_is_refused() -> None:
    assert refusal(b'{"pairs":' + b"[" * 100_000) == 'the body must be JSON: {"pairs": [...]}'


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("index", True, "a whole number"), ("index", 1.5, "a whole number"), ("weight", "zebrafish", "a number"),
        ("flags", {}, "a list"), ("flagged", 1, "true, false or null"), ("decoding", None, "an object"),
        ("logprob", "x", "a number or null"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named(name: str, value: object, said: str) -> None:
    row = {
        "request": "r",
        "user_hmac": "u",
        "arm": "a",
        "version": "1",
        "shadow": False,
        "source": "s",
        "output": "o",
        "at": 1.5,
    }
    assert pairs_of(orjson.dumps({"pairs": [row]})) == [Pair(**row)]  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=rf"^pairs\[1\]\.{name}: must be {said}$"):
        pairs_of(orjson.dumps({"pairs": [row, {**row, name: value}]}))

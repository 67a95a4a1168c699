"""Managed endpoints over real HTTP: each protocol, what is sent, what counts as no answer, what it costs."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest

from pipelines.errors import UserError
from pipelines.serving.asking import Unanswered
from pipelines.serving.endpoints import Endpoints
from pipelines.serving.exchange import Call, Output
from pipelines.spec import Decoding, Spec
from tests.serving.managed import Managed, managed
from tests.serving.site import spec

PATHS = {"openai": "/v1/chat/completions", "seqline": "/v1/generate", "libretranslate": "/translate"}
TEXTS = ["write to <PERSON_1>", "another one"]


@pytest.fixture
def server() -> Iterator[Managed]:
    with managed() as running:
        yield running


def named(server: Managed, protocol: str, **more: Any) -> Spec:
    endpoint = {"url": server.url + PATHS[protocol], "protocol": protocol, **more}
    return spec(serving={"endpoints": {"other": endpoint}}, privacy={"language": "en", "target_language": "de"})


def ask(given: Spec, seconds: float = 5.0, decoding: Decoding | None = None) -> tuple[list[Output], list[tuple[int, float]]]:
    charged: list[tuple[int, float]] = []

    async def run() -> list[Output]:
        async with aiohttp.ClientSession() as http:
            endpoints = Endpoints(given, http, lambda tokens, price: charged.append((tokens, price)))
            call = Call("r", "key", "mac", time.monotonic(), decoding or Decoding(), TEXTS)
            return await endpoints.ask("endpoint:other", call, seconds)

    return asyncio.run(run()), charged


@pytest.mark.parametrize("protocol", PATHS)
def test_every_protocol_gives_an_answer_a_text_and_tells_its_tokens(
    server: Managed, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTHER_KEY", "secret-key")
    outputs, charged = ask(named(server, protocol, key="env:OTHER_KEY", per_1000_tokens=0.5))
    assert [output.text for output in outputs] == [text.upper() for text in TEXTS]
    assert not [output for output in outputs if output.flags or output.cached]
    tokens = {"openai": 2 * (11 + 3), "seqline": 2 * (5 + 7), "libretranslate": 2 * (5 + 3)}[protocol]
    assert charged == [(tokens, 0.5)]
    assert all((key == "Bearer secret-key") == (protocol != "libretranslate") for _, key, _ in server.asked)


def test_an_openai_endpoint_is_told_model_prompt_and_decoding(server: Managed) -> None:
    given = named(server, "openai", model="big", prompt="In {n} words: {text}!")
    ask(given, decoding=Decoding(max_tokens=9, temperature=0.7, top_p=0.9, seed=3))
    bodies = [body for _, _, body in server.asked]
    assert {body["messages"][0]["content"] for body in bodies} == {f"In {{n}} words: {text}!" for text in TEXTS}
    for body in bodies:
        del body["messages"]
        assert body == {"model": "big", "max_tokens": 9, "temperature": 0.7, "top_p": 0.9, "seed": 3}
    ask(given, decoding=Decoding(max_tokens=9, seed=3))
    assert server.asked[-1][2].keys() == {"model", "messages", "max_tokens", "temperature"}


def test_tokens_are_estimated_where_nobody_counts_them(server: Managed) -> None:
    server.counts = False
    outputs, charged = ask(named(server, "openai", per_1000_tokens=1.0))
    assert [(output.source_tokens, output.target_tokens) for output in outputs] == [(5, 5), (3, 3)]
    assert charged == [(16, 1.0)]


def test_libretranslate_is_told_the_languages_and_the_key_in_the_body(server: Managed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTHER_KEY", "secret-key")
    ask(named(server, "libretranslate", key="env:OTHER_KEY"))
    (body,) = [body for _, _, body in server.asked]
    assert body == {"q": TEXTS, "source": "en", "target": "de", "format": "text", "api_key": "secret-key"}


@pytest.mark.parametrize(
    ("status", "broken", "reason"),
    [
        (500, b"", "status"), (429, b"", "status"), (307, b"", "status"), (200, b"<html>", "garbled"), (200, b"{}", "garbled"),
        (200, b'{"outputs": []}', "garbled"), (200, b'{"outputs": [{"text": 1}]}', "garbled"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_no_answer_and_no_redirect_is_followed(
    server: Managed, status: int, broken: bytes, reason: str
) -> None:
    server.status, server.broken = status, broken
    with pytest.raises(Unanswered) as raised:
        ask(named(server, "seqline"))
    assert raised.value.reason == reason
    assert {path for path, _, _ in server.asked} == {"/v1/generate"}


def test_one_that_is_late_or_away_is_no_answer(server: Managed) -> None:
    server.free.clear()
    for given, seconds, reason in ((named(server, "openai"), 0.05, "timeout"), (named(server, "openai"), 0.0, "timeout")):
        with pytest.raises(Unanswered) as raised:
            ask(given, seconds)
        assert raised.value.reason == reason
    server.free.set()
    gone = named(server, "openai")
    server.close()
    with pytest.raises(Unanswered) as raised:
        ask(gone)
    assert raised.value.reason == "connection"


def test_an_answer_without_end_is_cut(server: Managed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.serving.endpoints.LARGEST_ANSWER", 1_000)
    server.broken = b" " * 1_001
    with pytest.raises(Unanswered, match="garbled"):
        ask(named(server, "seqline"))


def test_a_key_that_is_not_in_the_environment_is_told_by_its_place(server: Managed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTHER_KEY", raising=False)
    line = r"serving\.endpoints\.other\.key: the environment variable OTHER_KEY is not set"
    with pytest.raises(UserError, match=line):
        ask(named(server, "openai", key="env:OTHER_KEY"))

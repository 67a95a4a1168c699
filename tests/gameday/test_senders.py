"""The senders against a real server that answers, refuses, breaks off and is away."""

import asyncio
from pathlib import Path

import aiohttp
from aiohttp import web

from tests.flows.project import free_port
from tests.gameday.senders import Clock, Fate, ask, read
from tests.gameday.site import until


async def answered(request: web.Request) -> web.StreamResponse:
    [text] = (await request.json())["inputs"]
    if text == "break":
        assert request.transport
        request.transport.abort()
    if text == "refuse":
        return web.json_response({"error": "no model in production yet"}, status=503)
    if text == "nonsense":
        return web.Response(text="<html>")
    return web.json_response({"version": "7", "request_id": f"id of {text}", "outputs": []})


async def fates(texts: list[str]) -> list[Fate]:
    application = web.Application()
    application.router.add_post("/v1/generate", answered)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as http:
            found = [await ask(http, f"http://127.0.0.1:{port}", text, "somebody", Clock()) for text in texts]
            return [*found, await ask(http, f"http://127.0.0.1:{free_port()}", "a", "somebody", Clock())]
    finally:
        await runner.cleanup()


def test_each_request_has_its_fate() -> None:
    found = asyncio.run(fates(["a", "refuse", "break", "nonsense"]))
    assert [each.status for each in found] == ["200", "503", "broken", "broken", "refused"]
    assert (found[0].version, found[0].request) == ("7", "id of a")
    assert found[1].said == "no model in production yet"
    assert all(each.sent <= each.done for each in found)


def test_a_line_that_is_half_written_is_read_later(tmp_path: Path) -> None:
    path = tmp_path / "fates.jsonl"
    path.write_text('{"sent": 2.0, "done": 3.0, "status": "200"}\n{"sent": 1.0, "done": 2.0, "status": "503"}\n{"sent": 5')
    assert [each.sent for each in read(path)] == [1.0, 2.0]


def test_waiting_ends_with_what_came_or_with_nothing() -> None:
    seen = iter(["", "", "here"])
    assert until(lambda: next(seen)) == "here"
    assert until(lambda: "", 0.0) is None

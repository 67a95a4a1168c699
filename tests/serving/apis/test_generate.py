"""POST /v1/generate as its users know it: one text or many, their own decoding within the caps, whole or as it is written."""

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.serving.site import Site


def events(site: Site, body: dict[str, Any]) -> list[tuple[str, Any]]:
    answer = site.http.post("/v1/generate", json={**body, "stream": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    blocks = [block.split("\n") for block in answer.text.strip().split("\n\n")]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in blocks]


@pytest.mark.parametrize("decoding", [{"beam": 1}, {"beam": 2}, {"temperature": 1.0, "seed": 7}])
def test_a_stream_tells_the_same_as_the_whole(gate: Site, decoding: dict[str, Any]) -> None:
    gate.route()
    asked = {"inputs": ["a small package", "reading writing text files"], "decoding": decoding}
    whole = gate.http.post("/v1/generate", json=asked).json()
    *deltas, (last, done) = events(gate, asked)
    assert {name for name, _ in deltas} == {"delta"}
    assert last == "done"
    told = ["".join(data["text"] for _, data in deltas if data["index"] == index) for index in (0, 1)]
    assert told == [output["text"] for output in done["outputs"]] == [output["text"] for output in whole["outputs"]]


def test_same_seed_same_text_and_the_seed_is_told(gate: Site) -> None:
    gate.route()
    drawn = {"inputs": ["a small package"], "decoding": {"temperature": 1.5}}
    first = gate.http.post("/v1/generate", json=drawn).json()["outputs"][0]
    again = {**drawn, "decoding": {**drawn["decoding"], "seed": first["seed"]}}  # type: ignore[dict-item]
    assert gate.http.post("/v1/generate", json=again).json()["outputs"][0]["text"] == first["text"]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"decoding": {"beam": 99}}, "decoding.beam: must be less than or equal to 16"),
        ({"decoding": {"beam": 9}}, "decoding.beam: must be at most 8"),
        ({"decoding": {"max_tokens": 513}}, "decoding.max_tokens: must be at most 512"),
        ({"decoding": {"temperature": "secretword"}}, "decoding.temperature: must be a valid number"),
        ({"decoding": {"secretword": 1}}, "decoding: the keys are beam"),
        ({"decoding": ["secretword"]}, "decoding: must be an object"),
        ({"stream": "secretword"}, "stream: must be true or false"),
        ({"deadline_ms": 0}, "deadline_ms: must be a number from 1"),
        ({"deadline_ms": True}, "deadline_ms: must be a number from 1"),
    ],
)
def test_a_bad_wish_gets_one_line(gate: Site, change: dict[str, Any], line: str) -> None:
    answer = gate.http.post("/v1/generate", json={"inputs": ["a"], **change})
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(line)
    assert "secretword" not in answer.text


def test_what_is_refused_before_the_first_word_has_its_status_in_a_stream_too(gate: Site) -> None:
    gate.route()
    assert gate.http.post("/v1/generate", json={"inputs": [], "stream": True}).status_code == 400


def test_the_description_is_of_this_gateway(gate: Site, translator: Site) -> None:
    ours, theirs = (site.http.get("/openapi.json").json() for site in (gate, translator))
    assert "/v2/models/tiny/infer" in ours["paths"]
    assert theirs["paths"].keys() - ours["paths"].keys() == {
        "/translate", "/detect", "/languages", "/v2/translate", "/v2/languages", "/v2/usage",
    }  # fmt: skip
    for path, methods in theirs["paths"].items():
        for method, operation in methods.items():
            for content in operation.get("requestBody", {}).get("content", {}).values():
                if "example" in content:
                    Draft202012Validator(content["schema"]).validate(content["example"])
                    answer = translator.http.request(method, path, json=content["example"])
                    assert answer.status_code in (200, 404), (path, answer.text)
                    assert str(answer.status_code) in operation["responses"]

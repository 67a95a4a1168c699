"""The Open Inference Protocol (V2), JSON and the binary tensor extension, as KServe and Triton clients speak it.

https://github.com/kserve/open-inference-protocol : one input `text` of BYTES, shape [n] or [n, 1]; outputs `text` (BYTES) and
`logprob` (FP32; NaN is not JSON: 0 where there is none).
"""

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pipelines.serving import intake
from pipelines.serving.apis.door import Door, asked_by, identified, texts_of
from pipelines.serving.exchange import Answered, Ask
from pipelines.serving.intake import Refused

KEYS = frozenset({"id", "inputs", "outputs", "parameters"})
HEADER = "inference-header-content-length"
EXTENSIONS = ["binary_tensor_data"]
OUTPUTS = {"text": "BYTES", "logprob": "FP32"}


def routes(door: Door) -> list[Route]:
    name = door.spec.name
    model = f"/v2/models/{name}"

    async def infer(request: Request) -> Response:
        user, holder = asked_by(door.holder(request), request)
        body = await door.body(request)
        head = _header_bytes(request, len(body))
        content = intake.parse(body[:head], KEYS)
        texts = door.inputs(_texts(content, body[head:]), "inputs[0].data")
        settings = {k: v for k, v in _object(content.get("parameters", {}), "parameters").items() if k != "binary_data_output"}
        ask = Ask(texts, door.decoding(settings, "parameters"), user, holder)
        wanted = _wanted(content)
        identity = content.get("id", "")
        if not isinstance(identity, str) or len(identity) > 256:
            raise Refused(400, "id: must be a text of at most 256 characters")
        answered = await door.answer(request, ask)
        return _reply(name, identity, answered, wanted)

    async def server(_request: Request) -> Response:
        return intake.reply({"name": "seqline", "version": "2", "extensions": EXTENSIONS})

    async def live(_request: Request) -> Response:
        return intake.reply({"live": True})

    async def ready(request: Request) -> Response:
        ok, now = await door.gateway.health()
        version = request.path_params.get("version")
        ok = ok and version in (None, now["champion"], now["canary"])
        return intake.reply({"ready": ok, "name": name}, 200 if ok else 503)

    async def metadata(_request: Request) -> Response:
        _, now = await door.gateway.health()
        versions = [now[arm] for arm in ("champion", "canary") if now[arm]]
        tensor = {"name": "text", "datatype": "BYTES", "shape": [-1]}
        outputs = [{"name": each, "datatype": kind, "shape": [-1]} for each, kind in OUTPUTS.items()]
        return intake.reply({"name": name, "versions": versions, "platform": "seqline", "inputs": [tensor], "outputs": outputs})

    return [
        door.route("/v2", server, "GET"),
        door.route("/v2/health/live", live, "GET"),
        door.route("/v2/health/ready", ready, "GET"),
        door.route(model, metadata, "GET"),
        door.route(f"{model}/ready", ready, "GET"),
        door.route(f"{model}/versions/{{version}}/ready", ready, "GET"),
        door.route(f"{model}/infer", infer),
    ]


def _object(given: object, name: str) -> Mapping[str, Any]:
    if not isinstance(given, dict):
        raise Refused(400, f"{name}: must be an object")
    return given


def _header_bytes(request: Request, size: int) -> int:
    """Where the JSON ends and the tensors begin."""
    given = request.headers.get(HEADER)
    if given is None:
        return size
    if not given.isdecimal() or len(given) > 9 or int(given) > size:
        raise Refused(400, "Inference-Header-Content-Length: must be the bytes of JSON in the body")
    return int(given)


def _texts(content: Mapping[str, Any], tensors: bytes) -> object:
    inputs = content.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise Refused(400, "inputs: must be one tensor: the texts")
    tensor = inputs[0]
    if tensor.get("datatype") != "BYTES":
        raise Refused(400, "inputs[0].datatype: must be BYTES")
    size = _object(tensor.get("parameters", {}), "inputs[0].parameters").get("binary_data_size")
    if size is None:
        texts = tensor.get("data")
        texts = (
            [row[0] if isinstance(row, list) and len(row) == 1 else row for row in texts] if isinstance(texts, list) else texts
        )
    elif not isinstance(size, int) or size != len(tensors):
        raise Refused(400, "inputs[0].parameters.binary_data_size: must be the bytes after the JSON")
    else:
        texts = _unpacked(tensors)
    shape = tensor.get("shape")
    if not isinstance(texts, list) or shape not in ([len(texts)], [len(texts), 1]):
        raise Refused(400, "inputs[0].shape: must be [n] or [n, 1], n texts being sent")
    return texts


def _unpacked(tensors: bytes) -> list[str]:
    """BYTES elements: four bytes of length (little endian) before each."""
    texts, at = [], 0
    try:
        while at < len(tensors):
            (length,) = struct.unpack_from("<I", tensors, at)
            if at + 4 + length > len(tensors):
                raise ValueError
            texts.append(tensors[at + 4 : at + 4 + length].decode())
            at += 4 + length
    except (struct.error, ValueError):
        raise Refused(400, "inputs[0]: must be texts in UTF-8, each after its length in four bytes") from None
    return texts


def _wanted(content: Mapping[str, Any]) -> dict[str, bool]:
    """The outputs asked for (all, if none is named), and whether each goes as bytes."""
    binary = _object(content.get("parameters", {}), "parameters").get("binary_data_output") is True
    outputs = content.get("outputs")
    if outputs is None:
        return dict.fromkeys(OUTPUTS, binary)
    named = [each.get("name") for each in outputs if isinstance(each, dict)] if isinstance(outputs, list) else []
    if not named or len(named) != len(outputs) or not all(isinstance(each, str) and each in OUTPUTS for each in named):
        raise Refused(400, f"outputs: must be of {', '.join(OUTPUTS)}")
    return {
        each["name"]: _object(each.get("parameters", {}), "outputs.parameters").get("binary_data", binary) is True
        for each in outputs
    }


def _reply(name: str, identity: str, answered: Answered, wanted: Mapping[str, bool]) -> Response:
    values: dict[str, Sequence[Any]] = {
        "text": texts_of(answered),
        "logprob": [output.logprob or 0.0 for output in answered.outputs],
    }
    tensors, blobs = [], []
    for each, binary in wanted.items():
        tensor: dict[str, Any] = {"name": each, "datatype": OUTPUTS[each], "shape": [len(values[each])]}
        if binary:
            blobs.append(_packed(each, values[each]))
            tensor["parameters"] = {"binary_data_size": len(blobs[-1])}
        else:
            tensor["data"] = values[each]
        tensors.append(tensor)
    head = orjson.dumps({"model_name": name, "model_version": answered.version, "id": identity, "outputs": tensors})
    if not blobs:
        return Response(head, headers=identified(answered), media_type="application/json")
    headers = {**identified(answered), HEADER: str(len(head))}
    return Response(head + b"".join(blobs), headers=headers, media_type="application/octet-stream")


def _packed(name: str, values: Sequence[Any]) -> bytes:
    if name == "logprob":
        return struct.pack(f"<{len(values)}f", *values)
    encoded = [text.encode() for text in values]
    return b"".join(struct.pack("<I", len(each)) + each for each in encoded)

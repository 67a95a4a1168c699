"""MLflow's and the Open Inference Protocol's clients, unchanged, at our gateway."""

import numpy as np
import pytest
import tritonclient.http as triton

from tests.serving.site import Site

TEXT = "a small package for reading text files"


@pytest.fixture
def ours(gate: Site) -> str:
    gate.route()
    return str(gate.ask(TEXT).json()["outputs"][0]["text"])


@pytest.mark.parametrize(
    "body",
    [
        {"inputs": [TEXT]},
        {"instances": [TEXT], "params": {"beam": 1}},
        {"inputs": {"text": [TEXT]}},
        {"dataframe_split": {"columns": ["text", "other"], "data": [[TEXT, 1]]}},
        {"dataframe_records": [{"source": TEXT}]},
    ],
)
def test_mlflows_scoring_protocol(gate: Site, ours: str, body: dict[str, object]) -> None:
    assert gate.http.post("/invocations", json=body).json() == {"predictions": [ours]}


def test_mlflows_csv(gate: Site, ours: str) -> None:
    answer = gate.http.post("/invocations", content=f"text\n{TEXT}\n".encode(), headers={"Content-Type": "text/csv"})
    assert answer.json() == {"predictions": [ours]}


def test_mlflows_deployments_client(gate: Site, ours: str) -> None:
    from mlflow.deployments import get_deploy_client

    client = get_deploy_client(gate.url)
    assert client is not None
    assert client.predict(endpoint="tiny", inputs={"inputs": [TEXT]}) == {"predictions": [ours]}
    completion = client.predict(endpoint="tiny", inputs={"prompt": TEXT, "max_tokens": 3})
    assert completion["usage"]["completion_tokens"] <= 3
    assert [endpoint.name for endpoint in client.list_endpoints()] == ["tiny"]
    assert client.get_endpoint("tiny").endpoint_url == f"{gate.url}/endpoints/tiny/invocations"


@pytest.mark.parametrize(
    "body", [{}, {"inputs": [TEXT], "instances": [TEXT]}, {"dataframe_split": {"data": 3}}, {"inputs": [[]]}]
)
def test_mlflow_is_told_in_its_form(gate: Site, body: dict[str, object]) -> None:
    answer = gate.http.post("/invocations", json=body)
    assert answer.status_code == 400
    assert answer.json()["error_code"] == "BAD_REQUEST"
    assert "\n" not in answer.json()["message"]


@pytest.mark.parametrize("binary", [True, False])
def test_tritons_client(gate: Site, ours: str, binary: bool) -> None:
    with triton.InferenceServerClient(gate.url.removeprefix("http://")) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("tiny")
        assert client.get_model_metadata("tiny")["versions"] == ["1"]
        tensor = triton.InferInput("text", [2], "BYTES")
        tensor.set_data_from_numpy(np.array([TEXT.encode(), "größer 🎉".encode()], dtype=object), binary_data=binary)
        wanted = [triton.InferRequestedOutput(name, binary_data=binary) for name in ("text", "logprob")]
        result = client.infer("tiny", [tensor], outputs=wanted, request_id="7")
        texts = [text.decode() if isinstance(text, bytes) else text for text in result.as_numpy("text")]
        assert texts[0] == ours
        assert result.as_numpy("logprob").shape == (2,)
        assert result.get_response()["id"] == "7"
        assert client.infer("tiny", [tensor]).as_numpy("text").shape == (2,)


@pytest.mark.parametrize(
    "change",
    [
        {"inputs": []},
        {"inputs": [{"name": "text", "shape": [2], "datatype": "BYTES", "data": ["a"]}]},
        {"inputs": [{"name": "text", "shape": [1], "datatype": "INT32", "data": [1]}]},
        {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 9}}]},
        {"outputs": [{"name": "no such"}]},
        {"id": 3},
    ],
)
def test_a_bad_tensor_gets_one_line(gate: Site, change: dict[str, object]) -> None:
    good = {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["a"]}]}
    answer = gate.http.post("/v2/models/tiny/infer", json={**good, **change})
    assert answer.status_code == 400
    assert list(answer.json()) == ["error"]

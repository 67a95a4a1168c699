"""What servers are asked over HTTP: they answer, lie, refuse, hang; and a real Prefect server."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate
from prefect.client.schemas.schedules import CronSchedule
from prefect.settings import get_current_settings
from prefect.states import Completed, Running
from prefect.testing.utilities import prefect_test_harness

from flows.overview import asking, gathering


class Answers(BaseHTTPRequestHandler):
    """A server that says of each path what it was told to."""

    says: ClassVar[dict[str, tuple[int, str]]] = {}

    def do_GET(self) -> None:
        status, text = self.says.get(self.path.partition("?")[0], (404, '{"error_code": "RESOURCE_DOES_NOT_EXIST"}'))
        if self.command == "POST":
            self.rfile.read(int(self.headers["content-length"]))
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    do_POST = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Says nothing."""


@contextmanager
def answering(says: dict[str, tuple[int, str]]) -> Iterator[str]:
    handler = type("Told", (Answers,), {"says": says})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_server_that_lies_is_said_to_say_nothing_readable() -> None:
    for text in ("", "[]", "<html>", '{"ok": true'):
        with answering({"/healthz": (200, text), "/metrics": (200, "{")}) as url, asking.client() as http:
            source = gathering.Source("the gateway", 5, asking.Asked(http, url), 20)
            source.look()
            assert source.known.value is None
            assert source.known.problem.startswith("the gateway says nothing that can be read"), source.known


def test_what_fails_keeps_what_it_said_before_and_is_asked_less_often() -> None:
    said = iter([7])
    source: gathering.Source[int] = gathering.Source("it", 5, lambda _now: next(said), 60)
    source.look()
    seen = source.known
    source.read = _broken
    source.look()
    assert (source.known.value, source.known.at) == (7, seen.at)
    assert source.known.problem == "it: RuntimeError"  # nothing of what the error quotes


def _broken(_now: float) -> int:
    raise RuntimeError("a text of a user")


def test_mlflow_is_asked_for_the_newest_version_and_its_queue() -> None:
    base = "/api/2.0/mlflow"
    queue = "/api/3.0/mlflow/review-queues"
    says = {
        f"{base}/model-versions/search": (200, '{"model_versions": [{"version": "4", "creation_timestamp": 5000}]}'),
        f"{base}/experiments/get-by-name": (200, '{"experiment": {"experiment_id": "1"}}'),
        f"{queue}/get-by-name": (200, '{"review_queue": {"queue_id": "q"}}'),
        f"{queue}/items/list": (200, '{"items": [{}, {}, {}]}'),
    }
    with answering(says) as url, asking.client() as http:
        found = asking.memory(http, url, "tiny")
    assert (found.newest, found.made_at, found.waiting, found.experiment) == ("4", 5.0, 3, "1")
    with answering({f"{base}/model-versions/search": (200, "{}")}) as url, asking.client() as http:
        assert asking.memory(http, url, "tiny").experiment is None
    with answering({f"{base}/model-versions/search": (401, "who?")}) as url, asking.client() as http:
        source = gathering.Source("MLflow", 5, lambda _: asking.memory(http, url, "tiny"), 20)
        source.look()
        assert source.known.problem == "MLflow refuses: status 401"


def test_who_does_not_answer_in_time_is_said_to_be_busy() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent, asking.client(timeout=0.2) as http:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        source = gathering.Source("Prefect", 5, lambda _: asking.scheduled(http, url), 20)
        source.look()
        assert source.known.problem == "Prefect is too busy to answer"


@flow
def retrain(name: str) -> None:
    """Stands for a scheduled flow."""


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # Prefect's harness leaves a socket open
def test_a_real_prefect_server_tells_what_is_due_and_how_it_went() -> None:
    with prefect_test_harness(server_startup_timeout=180), get_client(sync_client=True) as client, asking.client() as http:
        api = str(get_current_settings().api.url)
        client.create_work_pool(WorkPoolCreate(name="seqline", type="process"))
        deployment = client.create_deployment(
            client.create_flow(retrain),
            "tiny",
            work_pool_name="seqline",
            entrypoint="flows.retrain.retrain",
            schedules=[DeploymentScheduleCreate(schedule=CronSchedule(cron="0 3 * * 1", timezone="UTC"))],
        )
        (fresh,) = asking.scheduled(http, api)
        assert (fresh.kind, fresh.model, fresh.paused, fresh.last) == ("retrain", "tiny", False, ())
        run = client.create_flow_run_from_deployment(deployment, parameters={"name": "tiny"}, name="tiny by hand")
        (due,) = asking.scheduled(http, api)
        assert due.next_at is not None
        for state in (Running(), Completed()):
            client.set_flow_run_state(run.id, state, force=True)
        (done,) = asking.scheduled(http, api)
        assert [(each.name, each.outcome, each.id) for each in done.last] == [("tiny by hand", "Completed", str(run.id))]
        assert done.last[0].started is not None
        other = client.create_deployment(client.create_flow(retrain), "other", entrypoint="flows.retrain.retrain")
        for _ in range(2 * asking.EACH):  # as many as are asked for, of one of the two
            client.create_flow_run_from_deployment(deployment, parameters={"name": "tiny"})
        client.create_flow_run_from_deployment(other, parameters={"name": "other"})
        assert [(each.model, each.next_at is not None) for each in asking.scheduled(http, api)] == [
            ("other", True),
            ("tiny", True),
        ]

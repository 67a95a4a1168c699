"""The Prefect server of a run that found none: in this process, over the workspace's own database.

Prefect itself would start one as a child: a second Python that imports all of it again (3 CPU seconds), on a port that another
run may take meanwhile, and that outlives a killed run. A server in this process ends with it, whatever ends it.
"""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from contextvars import copy_context

import uvicorn
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker
from prefect.settings import get_current_settings, temporary_settings

from flows.settings import Settings
from flows.stack import members as stack
from flows.stack import prefect_tables
from flows.zombies import bury_servers
from pipelines.errors import SeqlineError

HOST = "127.0.0.1"
LOOK_SECONDS = 0.05
STOP_SECONDS = 5
SETTINGS = {
    "server.register_blocks_on_start": False,  # no flow of ours uses a block
    # One at a time it falls behind and, stopped, forgets the last tasks: they would be RUNNING for ever.
    "server.services.task_run_recorder.batch_size": 100,
    "server.services.task_run_recorder.flush_interval": 1,
    "server.ui.enabled": False,
}


@contextmanager
def served(settings: Settings) -> Iterator[None]:
    """Flows in the block run against the server that the environment names (PREFECT_API_URL), or that of `seqline up`, or,
    without either, one of their own.

    Raises:
        SeqlineError: its own did not start.
    """
    given = get_current_settings().api.url or (stack.PREFECT_API if stack.running(settings) else None)
    if given:
        with temporary_settings({"api.url": given}):
            yield
        return
    home = get_current_settings().home
    bury_servers(home)
    prefect_tables.lay(home)
    with _running() as own, temporary_settings({"api.url": own}):
        try:
            yield
        finally:  # what was said last reaches the server before it goes
            APILogWorker.drain_all()
            EventsWorker.drain_all()


@contextmanager
def _running() -> Iterator[str]:
    """The server in a thread, with the background services of Prefect's temporary one; yields its address once it answers."""
    from prefect.server.api.server import create_app

    with temporary_settings(SETTINGS):
        config = uvicorn.Config(
            create_app(ephemeral=True, final=True),
            log_config=None,  # uvicorn's own closes every handler there is, and absl's (rouge_score) its stream with it
            log_level="error",
            lifespan="on",
            timeout_graceful_shutdown=STOP_SECONDS,
        )
        run = copy_context().run
    with closing(socket.create_server((HOST, 0))) as listening:
        server = uvicorn.Server(config)
        thread = threading.Thread(target=run, args=(server.run, [listening]), name="prefect-server", daemon=True)
        thread.start()
        deadline = time.monotonic() + get_current_settings().server.ephemeral.startup_timeout_seconds
        while not server.started:
            if not thread.is_alive() or time.monotonic() > deadline:
                raise SeqlineError("Prefect: its server did not start: PREFECT_LOGGING_LEVEL=DEBUG shows why")
            time.sleep(LOOK_SECONDS)
        try:
            yield f"http://{HOST}:{listening.getsockname()[1]}/api"
        finally:
            server.should_exit = True
            thread.join()

from tests.serving.conftest import export  # noqa: F401  the tiny model that serves

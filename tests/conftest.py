"""For all tests: no time limit on a property's example (other processes may hold the cores), and no telemetry."""

from hypothesis import settings

from flows.settings import Settings

settings.register_profile("seqline", deadline=None)
settings.load_profile("seqline")
Settings().apply()

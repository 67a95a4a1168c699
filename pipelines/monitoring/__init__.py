"""Does what is asked and answered still look like what the model was trained on? (Of the judge: `scoring.labels.drift`.)"""

from pipelines.monitoring.drift import Moved, Side, Text, sided
from pipelines.monitoring.facts import Pieces, Tools
from pipelines.monitoring.profile import Profile, TooFew, load, made, save
from pipelines.monitoring.watching import Drift, since, watched

__all__ = [
    "Drift",
    "Moved",
    "Pieces",
    "Profile",
    "Side",
    "Text",
    "TooFew",
    "Tools",
    "load",
    "made",
    "save",
    "sided",
    "since",
    "watched",
]

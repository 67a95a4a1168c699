"""The registry is the memory: versions, approvals, aliases, history and lineage, kept in MLflow.

Importing this package is light; making a `Registry` imports MLflow (seconds).
"""

from pipelines.registry.approval import Approvals
from pipelines.registry.evaluation import Evaluations
from pipelines.registry.lineage import Memory
from pipelines.registry.records import PRODUCTION, Approval, Candidate, Entry, Lineage, Version

__all__ = ["PRODUCTION", "Approval", "Candidate", "Entry", "Lineage", "Registry", "Version"]


class Registry(Approvals, Memory, Evaluations):
    """One MLflow server (http, https) or database (`sqlite:///FILE`, with its files under `artifacts`)."""

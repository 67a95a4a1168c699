"""Overviews to draw: one model of each tone, and facts that a hostile server could have said."""

from pipelines.overview import facts as f

NOW = 1_795_400_000.0
HOSTILE = "<script>document.title='broken'</script> & \"'"


def standing(**changed: object) -> f.Standing:
    content = {
        "safe": True, "verdict": "version 2 serves everybody; no rollout is open", "production": "2", "since": NOW - 90_000,
        "approver": "a person", "weight": 0.0, "held": None, "paged": (), "rollout": None,
        "budgets": (f.Sli("availability", 0.99, 0.83, 0.2, 12_000, 20), f.Sli("latency", 0.99, -0.1, 1.2, 12_000, 130)),
        "answered_at": NOW - 4, "untold": 0, "decisions": (f.Decision(NOW - 90_000, "2", "promote", "approved"),),
    }  # fmt: skip
    return f.Standing(**(content | changed))  # type: ignore[arg-type]


def rollout(**changed: object) -> f.Rollout:
    content = {
        "version": "3", "champion": "2", "phase": "stage", "where": "5 % (stage 2 of 4)",
        "steps": ("shadow", "1 %", "5 %", "25 %", "50 %", "approval", "all"), "at": 2, "opened_at": NOW - 600, "e": "0.9",
        "bar": "100", "arms": (f.Arms("availability", (0, 58), (3, 1_060), (0, 0), "0.9"),),
        "reasons": ("availability: 0 of 58 bad", "next: 25 % of the users"), "ticked_at": NOW - 2, "watched": True,
        "approval": None,
    }  # fmt: skip
    return f.Rollout(**(content | changed))  # type: ignore[arg-type]


def model(name: str = "tiny", **changed: object) -> f.Model:
    content = {
        "standing": f.Known(standing(), NOW - 1),
        "gateway": f.Known(f.Gateway(True, 0.12, 300.0, 900, 2, False), NOW - 1),
        "judged": f.Known(tuple(f.Day(NOW - 86_400 * day, 7 + day, 100) for day in range(9, -1, -1)), NOW - 60, "", 7_200),
        "alerts": f.Known((), NOW - 3),
    }
    return f.Model(name, "summarization", 1.0, "http://127.0.0.1:8080", **(content | changed))  # type: ignore[arg-type]


def hostile() -> f.Model:
    """Every text that a server or a file could have said is markup."""
    run = f.Run("0' onclick='x", HOSTILE, HOSTILE, NOW, 3.0)
    return model(
        "hostile",
        standing=f.Known(
            standing(
                verdict=HOSTILE, approver=HOSTILE, held=HOSTILE,
                rollout=rollout(where=HOSTILE, reasons=(HOSTILE,), approval=HOSTILE, version=HOSTILE),
            ),
            NOW,
        ),
        alerts=f.Known((f.Alert(HOSTILE, "ticket", HOSTILE, NOW, HOSTILE),), NOW),
        memory=f.Known(f.Memory(HOSTILE, NOW, HOSTILE, HOSTILE, 3, HOSTILE), NOW),
        scheduled=f.Known((f.Scheduled(HOSTILE, "hostile", NOW, False, (run,)),), NOW),
        drift=f.Known(f.Drift(HOSTILE, "2", ((HOSTILE, HOSTILE, HOSTILE),)), NOW),
        watch=f.Known(f.Watch(False, HOSTILE, ((HOSTILE, HOSTILE),), NOW + 5, HOSTILE), NOW),
        cost=f.Known(f.Cost(HOSTILE, ((HOSTILE, HOSTILE, 0.2),), 1.0, 2.0, 3.0, 2.5), NOW),
        doctor=f.Known(f.Doctor(HOSTILE, 9, ((HOSTILE, HOSTILE, HOSTILE),) * 4), NOW),
        labels=f.Known(f.Labels(HOSTILE, 0.1, None, 0), NOW),
        kept=f.Known(f.Kept(5, 2, 30), NOW),
    )  # fmt: skip


def overview(*models: f.Model) -> f.Overview:
    places = (
        f.Place("Prefect", "http://127.0.0.1:4200", "flows", True),
        f.Place("MLflow", "http://127.0.0.1:5000", "versions", False, "MLflow does not answer"),
    )
    return f.Overview(NOW, models, places, (), ("gateway-down",))

"""What a game day showed: gameday.json, a table (gameday.md) and a picture of each fault's seconds (gameday.png)."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

from matplotlib.figure import Figure
from rich.console import Console

from tests.gameday.scoring import Score

WORDS = {True: "yes", False: "NO", None: "skipped"}
COLUMNS = ("fault", "detected in s", "recovered in s", "requests", "failed", "turned away", "lost", "holds")
GOOD, BAD, DETECTED, INK = "#2a9d6f", "#b03030", "#c77d1a", "#333333"


def summary(scores: Sequence[Score]) -> str:
    """How many held, and which did not."""
    tried = [score for score in scores if not score.skipped]
    held = [score for score in tried if score.holds]
    failed, lost = sum(score.failed for score in tried), sum(len(score.lost) for score in tried)
    told = f"{len(held)} of {len(tried)} faults detected and recovered without a hand, nothing failed and nothing lost"
    told += f"; requests failed in all: {failed} of {sum(score.sent for score in tried)}; things lost: {lost}"
    if skipped := [score.fault for score in scores if score.skipped]:
        told += f"; skipped: {', '.join(skipped)}"
    return told


def line(score: Score) -> str:
    if score.skipped:
        return f"  {score.fault}: skipped: {score.skipped}"
    told = f"  {score.fault}: detected {_seconds(score.detected)} ({score.by or 'nobody said so'}); "
    told += f"recovered {_seconds(score.recovered)} ({_how(score)}); {score.failed} of {score.sent} failed, "
    return told + f"{score.turned_away} turned away, lost: {len(score.lost)}; {dict(score.statuses)}"


def beside(scores: Sequence[Score], out: Path, order: Sequence[str]) -> list[Score]:
    """`scores`, and of the faults that are not among them what an earlier run wrote into `out`; in that order.

    What a run of other code wrote, in another form, is left out.
    """
    path, names = out / "gameday.json", {each.name for each in fields(Score)}
    rows = json.loads(path.read_text(encoding="utf-8"))["faults"] if path.is_file() else []
    told = [row for row in rows if row.keys() == {*names, "holds"}]
    found = {row["fault"]: Score(**{name: row[name] for name in names}) for row in told}
    found |= {score.fault: score for score in scores}
    return [found[fault] for fault in order if fault in found]


def write(scores: Sequence[Score], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    rows = [{**asdict(score), "holds": score.holds} for score in scores]
    (out / "gameday.json").write_text(json.dumps({"said": summary(scores), "faults": rows}, indent=1), encoding="utf-8")
    (out / "gameday.md").write_text(table(scores), encoding="utf-8")
    draw(scores, out / "gameday.png")


def table(scores: Sequence[Score]) -> str:
    """Markdown: a row a fault, then what the system said of each, and what did not hold."""
    rows = [" | ".join(COLUMNS), " | ".join("---" for _ in COLUMNS), *(" | ".join(_cells(score)) for score in scores)]
    lines = ["# Game day", "", summary(scores), "", *(f"| {row} |" for row in rows), ""]
    for score in scores:
        lines += [f"## {score.fault}", "", *(f"- {each}" for each in _details(score)), ""]
    return "\n".join(lines)


def _cells(score: Score) -> list[str]:
    if score.skipped:
        return [score.fault, *[""] * 6, "skipped"]
    counts = [str(count) for count in (score.sent, score.failed, score.turned_away, len(score.lost))]
    return [score.fault, _seconds(score.detected), _seconds(score.recovered), *counts, WORDS[score.holds]]


def _details(score: Score) -> list[str]:
    if score.skipped:
        return [score.skipped]
    lines = [time.strftime("at: %Y-%m-%d %H:%M:%S UTC", time.gmtime(score.at))]
    lines += [f"detected: {score.by or 'the system did not say so'}", f"recovered: {_how(score)}"]
    lines.append(f"answers: {', '.join(f'{count} x {what}' for what, count in score.statuses.items())}")
    lines.append(f"longest wait of a sender: {score.longest:.1f} s")
    return [*lines, *(f"lost: {each}" for each in score.lost), *(" ".join(note.split()) for note in score.notes)]


def _how(score: Score) -> str:
    return score.how if score.recovered is not None else "it did not"


def missed(score: Score) -> str:
    """What a fault that did not hold lacks, in a few words; empty where it held."""
    told = [word for word, moment in (("not detected", score.detected), ("not recovered", score.recovered)) if moment is None]
    told += [f"{count} {word}" for word, count in (("failed", score.failed), ("lost", len(score.lost))) if count]
    return ", ".join(told)


def _seconds(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.1f}"


def draw(scores: Sequence[Score], path: Path) -> None:
    """Each fault as a bar from the blow to the recovery, a mark where it was detected, and what it cost beside it."""
    shown = [score for score in scores if not score.skipped][::-1]
    figure = Figure(figsize=(9, 1.2 + 0.42 * len(shown)), layout="constrained")
    axis = figure.subplots()
    most = max((score.recovered or score.detected or 1.0 for score in shown), default=1.0)
    for place, score in enumerate(shown):
        length = score.recovered if score.recovered is not None else most
        axis.barh(place, max(length, 0.05), color=GOOD if score.holds else BAD, height=0.55, alpha=0.85)
        if score.detected is not None:
            axis.plot(max(score.detected, 0.05), place, "D", color=DETECTED, markersize=6, markeredgecolor="white")
        axis.annotate(f"  {missed(score)}", (max(length, 0.05), place), va="center", fontsize=8, color=INK)
    axis.set_yticks(range(len(shown)), [score.fault for score in shown], fontsize=9)
    axis.set_xscale("log")
    axis.set_xlim(0.05, most * 3)
    axis.xaxis.set_major_formatter("{x:g}")
    axis.set_xlabel("seconds from the blow to the recovery; the diamond: detected", fontsize=9, color=INK)
    axis.grid(axis="x", color="#e6e6e6", linewidth=0.8)
    axis.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    skipped = [score.fault for score in scores if score.skipped]
    title = summary(scores).partition(";")[0] + (f"\nskipped: {', '.join(skipped)}" if skipped else "")
    axis.set_title(title, fontsize=10, loc="left")
    figure.savefig(path, dpi=110, metadata={"Software": None}, facecolor="white")


def show(out: Path) -> None:
    console = Console(highlight=False, soft_wrap=True)
    console.print((out / "gameday.md").read_text(encoding="utf-8").partition("\n## ")[0], markup=False)
    console.print(f"in {out}: gameday.md (what the system said of each), gameday.json, gameday.png", markup=False)

"""Pairs from the Hugging Face hub, or from a local folder that `datasets.load_dataset` reads; streamed, never as code."""

import os
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from pipelines.artifact import digest, file_sha256
from pipelines.errors import SeqlineError, Transient, UserError
from pipelines.sources.rows import Cells, Part, Reading, columns_shown
from pipelines.spec import HubSource


def reading(source: HubSource, base: Path, cache: Path) -> Reading:
    """One part: the split, by the hub's commit or the sha256 of the folder's files.

    Raises:
        UserError: no such dataset, revision, split, column. Transient: the hub does not answer.
    """
    folder = base / source.dataset
    if folder.is_dir():
        files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
        inputs = {f"{source.dataset}/{path.relative_to(folder).as_posix()}": file_sha256(path) for path in files}
        if not files:
            raise UserError(f"data.source.dataset: {source.dataset}: the folder is empty")
        where, revision, size = str(folder), None, sum(path.stat().st_size for path in files)
    else:
        revision = _commit(source)
        inputs, where, size = {source.dataset: revision}, source.dataset, 0
    part = Part(
        key=digest("hub", source, inputs),
        name=source.dataset,
        read=partial(_read, source, where, revision, cache / "hub"),
        fields=(source.source, source.target),
        size=size,
    )
    return Reading(inputs, [part])


def _quiet() -> None:
    """No telemetry, no count of downloads: what is read here is nobody's business."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import datasets

    datasets.config.HF_UPDATE_DOWNLOAD_COUNTS = False
    datasets.disable_progress_bars()


def _commit(source: HubSource) -> str:
    _quiet()
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    where = f"data.source.dataset: {source.dataset}"
    try:
        return str(HfApi().dataset_info(source.dataset, revision=source.revision, timeout=20).sha)
    except GatedRepoError:
        raise UserError(f"{where}: it is gated: accept its terms on the hub and set HF_TOKEN") from None
    except RevisionNotFoundError:
        raise UserError(f"data.source.revision: {source.dataset} has no `{source.revision}`") from None
    except (RepositoryNotFoundError, HFValidationError):
        raise UserError(f"{where}: no such folder beside the spec, and no such dataset on the hub") from None
    except Exception as error:  # which HTTP client it uses, and so what it raises, is its own affair
        raise Transient(
            f"{where}: no such folder beside the spec, and the hub does not answer ({type(error).__name__})"
        ) from None


def _read(source: HubSource, where: str, revision: str | None, cache: Path, _dropped: Counter[str]) -> Iterator[Cells]:
    cache.mkdir(parents=True, exist_ok=True, mode=0o700)
    stream = _stream(source, where, revision, cache)
    number = 0
    try:
        for number, row in enumerate(stream, 1):
            if number == 1:
                _check(source, row)
            yield Cells(number, (_enter(row, source.source), _enter(row, source.target)))
    except SeqlineError:
        raise
    except Exception as error:
        raise _told(source, error, f"row {number + 1}") from None


def _stream(source: HubSource, where: str, revision: str | None, cache: Path) -> Any:
    _quiet()
    from datasets import DownloadConfig, load_dataset_builder

    try:
        builder = load_dataset_builder(
            where, source.config, revision=revision, cache_dir=str(cache), download_config=DownloadConfig(cache_dir=cache)
        )
        for key, value in (("keep_default_na", False), ("na_filter", False)):  # of CSV: `NA` is a word
            if hasattr(builder.config, key):
                setattr(builder.config, key, value)
        return builder.as_streaming_dataset(split=source.split)
    except Exception as error:
        raise _told(source, error, "") from None


def _told(source: HubSource, error: Exception, where: str) -> SeqlineError:
    """The readers of `datasets` quote rows in their messages: only the class of a fault is told, apart from names."""

    shown = f"data.source.dataset: {source.dataset}: " + (f"{where}: " if where else "")
    if isinstance(error, ConnectionError | TimeoutError) or type(error).__module__.startswith("http"):
        return Transient(f"{shown}the hub does not answer ({type(error).__name__})")
    text = str(error)
    if "split" in text and source.split in text and not where:
        return UserError(f"data.source.split: {source.dataset} has no split `{source.split}`")
    if "BuilderConfig" in text:
        return UserError(f"data.source.config: {source.dataset} has no configuration `{source.config}`, or needs one")
    return UserError(f"{shown}`datasets` cannot read it ({type(error).__name__}): mend the files, or use `kind: files`")


def _check(source: HubSource, row: dict[str, Any]) -> None:
    for field, name in (("source", source.source), ("target", source.target)):
        level: Any = row
        for key in name.split(".") if name not in row else [name]:
            if not isinstance(level, dict) or key not in level:
                there = columns_shown(level if isinstance(level, dict) else row)
                raise UserError(f"{source.dataset}: no column `{name}` (there are: {there}): set data.source.{field}")
            level = level[key]


def _enter(row: dict[str, Any], name: str) -> object:
    level: Any = row
    for key in name.split(".") if name not in row else [name]:
        level = level.get(key) if isinstance(level, dict) else None
    return level

"""The DVC cache and the default remote of .dvc/config: a folder here, or anything that DVC reaches (s3://, ssh://, ...).

No credentials stand in .dvc/config: they come from the environment (AWS_ACCESS_KEY_ID, ...), ~/.ssh, or .dvc/config.local,
which git ignores.
"""

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from configparser import ConfigParser
from configparser import Error as ConfigError
from pathlib import Path
from typing import Any, Protocol

from pipelines.artifact import Corrupt
from pipelines.dataset.objects import Objects
from pipelines.errors import SeqlineError, Transient, UserError


class Remote(Protocol):
    def lacking(self, sizes: Mapping[str, int]) -> set[str]:
        """Which of the objects {md5: bytes} are not there whole. A distant one is asked for name and size, no bytes."""

    def send(self, md5s: Sequence[str], cache: Objects) -> None: ...

    def bring(self, md5s: Sequence[str], cache: Objects) -> None:
        """Put what the remote has, and has whole, into the cache; what it has not stays missing."""

    def drop(self, md5s: Sequence[str]) -> None: ...

    @property
    def folder(self) -> Path | None:
        """Where it lies, if on this machine."""


class Here:
    """A remote on this machine: its objects are hashed each time."""

    def __init__(self, root: Path) -> None:
        self.folder: Path | None = root
        self.objects = Objects(root)

    def lacking(self, sizes: Mapping[str, int]) -> set[str]:
        return {md5 for md5 in sizes if not self.objects.sound(md5)}

    def send(self, md5s: Sequence[str], cache: Objects) -> None:
        # the list of a version last: whoever finds it finds all that it lists
        for md5 in sorted(md5s, key=lambda md5: md5.endswith(".dir")):
            self.objects.put(md5, cache.path(md5))

    def bring(self, md5s: Sequence[str], cache: Objects) -> None:
        for md5 in md5s:
            if self.objects.sound(md5):
                cache.put(md5, self.objects.path(md5))

    def drop(self, md5s: Sequence[str]) -> None:
        for md5 in md5s:
            self.objects.drop(md5)


class Distant:
    """A remote that DVC reaches. DVC's own index of what a remote holds is left out: it never sees that an object went."""

    folder: Path | None = None

    def __init__(self, repo: Path, name: str) -> None:
        self.repo, self.name = repo, name

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Any]:
        with _plainly(self.name):
            from dvc.config import Config
            from dvc.fs import get_cloud_fs
            from dvc_data.hashfile.db import get_odb

            cls, config, path = get_cloud_fs(Config(str(self.repo / ".dvc")), name=self.name)
            config.pop("verify", None)  # what comes is hashed by us, whatever the configuration says
            fs = cls(**config)
            make: Any = get_odb
            yield make(fs, fs.join(path, "files", "md5"), hash_name="md5", verify=False)

    def lacking(self, sizes: Mapping[str, int]) -> set[str]:
        with self._opened() as store:
            ordered = list(sizes)
            store.fs.fs.invalidate_cache()
            found = store.fs.info([store.oid_to_path(md5) for md5 in ordered], return_exceptions=True)
            for answer in found:
                if isinstance(answer, Exception) and not isinstance(answer, FileNotFoundError):
                    raise answer
            return {
                md5
                for md5, answer in zip(ordered, found, strict=True)
                if isinstance(answer, Exception) or answer.get("size") != sizes[md5]
            }

    def send(self, md5s: Sequence[str], cache: Objects) -> None:
        from dvc_objects.fs.local import localfs

        with self._opened() as store:
            for last in (False, True):
                chosen = [md5 for md5 in md5s if md5.endswith(".dir") == last]
                if chosen:
                    store.add([str(cache.path(md5)) for md5 in chosen], localfs, chosen, check_exists=False)

    def bring(self, md5s: Sequence[str], cache: Objects) -> None:
        with self._opened() as store:
            there = [
                md5 for md5, known in zip(md5s, store.fs.exists([store.oid_to_path(m) for m in md5s]), strict=True) if known
            ]
            for md5 in there:
                landed = cache.root / ".incoming"
                landed.parent.mkdir(parents=True, exist_ok=True)
                try:
                    store.fs.get_file(store.oid_to_path(md5), str(landed))
                    with contextlib.suppress(Corrupt):
                        cache.put(md5, landed)
                finally:
                    landed.unlink(missing_ok=True)

    def drop(self, md5s: Sequence[str]) -> None:
        with self._opened() as store:
            for md5 in md5s:
                with contextlib.suppress(FileNotFoundError):
                    store.delete(md5)


def cache_of(repo: Path) -> Objects:
    folder = _config(repo).get("cache", "dir", fallback="cache")
    return Objects(repo / ".dvc" / folder)


def remote_of(repo: Path) -> Remote:
    """The default remote. Raises UserError when there is none."""
    config = _config(repo)
    name = config.get("core", "remote", fallback="")
    url = config.get(f"'remote \"{name}\"'", "url", fallback="")
    if not url:
        raise UserError(".dvc/config: no default remote: `dvc remote add -d NAME URL`")
    return Distant(repo, name) if "://" in url else Here(Path(os.path.normpath(repo / ".dvc" / url)))


def _config(repo: Path) -> ConfigParser:
    config = ConfigParser(interpolation=None)
    try:
        config.read([repo / ".dvc/config", repo / ".dvc/config.local"])
    except ConfigError:
        raise UserError(".dvc/config: cannot be read: restore it from git") from None
    return config


@contextlib.contextmanager
def _plainly(name: str) -> Iterator[None]:
    """DVC's, fsspec's and the clouds' errors as one line of ours: theirs carry paths of this machine, and sometimes keys."""
    loggers = [logging.getLogger(each) for each in ("dvc", "dvc_data", "dvc_objects", "asyncssh", "botocore", "s3fs", "fsspec")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    except (SeqlineError, AttributeError, TypeError, AssertionError):  # ours: no remote's word
        raise
    except OSError as error:
        if error.errno is not None and error.filename is not None:  # this machine's disk, not the network's
            raise
        raise Transient(f"data: the remote {name!r} does not answer ({type(error).__name__})") from None
    except Exception as error:
        kind = type(error).__name__
        if kind in ("ConfigError", "NoRemoteError", "RemoteConfigError", "RepoConfigError", "RemoteMissingDepsError"):
            raise UserError(
                f".dvc/config: the remote {name!r} cannot be used ({kind}): `dvc remote list`, and its package"
            ) from None
        raise Transient(f"data: the remote {name!r} does not answer ({kind})") from None
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)

"""A disk of the game day's own: a file with a file system in it, which can be filled and slowed down without harm to others."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

WRITES = Path("/sys/fs/cgroup/blkio/blkio.throttle.write_iops_device")
"""Of all processes, for one device: https://docs.kernel.org/admin-guide/cgroup-v1/blkio-controller.html"""


class Unable(Exception):
    """This machine cannot do a fault; the text says why."""


class Disk:
    """A mounted file system of `megabytes`; without the right to mount one, a plain folder, and `device` is None."""

    def __init__(self, folder: Path, megabytes: int = 1_500) -> None:
        self.folder, self.device, self._ballast = folder / "disk", "", folder / "disk" / "ballast"
        self.folder.mkdir(parents=True)
        if os.geteuid() == 0:
            with suppress(subprocess.CalledProcessError, FileNotFoundError):
                self._mount(folder / "disk.img", megabytes)

    def _mount(self, image: Path, megabytes: int) -> None:
        with image.open("wb") as stream:
            stream.truncate(megabytes << 20)
        said("mkfs.ext4", "-q", "-F", "-m", "0", str(image))
        device = said("losetup", "--find", "--show", str(image)).strip()
        try:
            said("mount", device, str(self.folder))
        except subprocess.CalledProcessError:
            said("losetup", "--detach", device)
            raise
        self.device = device

    def close(self) -> None:
        if self.device:
            said("umount", "--lazy", str(self.folder))
            said("losetup", "--detach", self.device)

    @contextmanager
    def full(self) -> Iterator[None]:
        """Not a byte is left, until the block ends.

        Raises:
            Unable: it is no disk of its own.
        """
        self._must_be_own("be filled")
        try:
            with self._ballast.open("wb") as stream:
                with suppress(OSError):
                    os.posix_fallocate(stream.fileno(), 0, os.statvfs(self.folder).f_bavail * os.statvfs(self.folder).f_frsize)
                with suppress(OSError):
                    while stream.write(bytes(4_096)):
                        stream.flush()
        except OSError:  # the last bytes, written again at the end
            pass
        try:
            yield
        finally:
            self._ballast.unlink()

    @contextmanager
    def slow(self, writes_a_second: int) -> Iterator[None]:
        """So many writes a second reach it, until the block ends.

        Raises:
            Unable: it is no disk of its own, or the kernel has no throttle to be set.
        """
        self._must_be_own("be slowed down")
        number = (Path("/sys/block") / Path(self.device).name / "dev").read_text().strip()
        try:
            WRITES.write_text(f"{number} {writes_a_second}")
        except OSError as error:
            raise Unable(f"the kernel's throttle of block devices cannot be set here ({error.strerror})") from None
        try:
            yield
        finally:
            WRITES.write_text(f"{number} 0")

    def _must_be_own(self, what: str) -> None:
        if not self.device:
            raise Unable(f"no disk of its own can be mounted here, and that of the machine must not {what}: run it as root")


def said(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout

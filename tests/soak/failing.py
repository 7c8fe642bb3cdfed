"""Folders whose disk fails when it is told to.

The disks are real ones: a small file system in memory, mounted where only the process of one try sees it. Where the
system allows no such thing files may not grow any more instead, or the folder has lost the right to be written.
"""

import ctypes
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.soak.toy_training import finish, start

ROOMY = 1 << 30  # bytes of a disk that never fills up
_BALLAST = "ballast"
_PATIENCE_S = 60  # with a command of mount
_NAMESPACES = (0x00020000, 0x10020000)  # CLONE_NEWNS, and with it CLONE_NEWUSER for those who are not root


class Disk:
    """A folder whose disk can be made to fail, and made whole again, in a process that does nothing else.

    Attributes:
        folder: where it is.
        is_real: whether it has a file system of its own; else files may not grow, or the folder may not be written.
    """

    def __init__(self, folder: Path, size: int, is_real: bool) -> None:
        self.folder, self.is_real = folder, is_real
        self._size, self._is_failing = size, True
        if is_real:
            mount(folder, size)

    def fail(self, place: int | None, is_read_only: bool) -> None:
        """Lets the disk be read-only, or be full once so many files were opened for writing; None: as it is."""
        if is_read_only:
            self._forbid()
        elif place is not None:
            left = iter(range(place))
            watch(self.folder, lambda _: self._fill() if next(left, None) is None else None)
        elif not self.is_real:
            _set_largest(self._size)

    def relieve(self) -> None:
        """Makes the disk large and writable; it fails no more."""
        self._is_failing = False
        if self.is_real:
            _mount("-o", f"remount,rw,size={2 * ROOMY}", self.folder)
            (self.folder / _BALLAST).unlink(missing_ok=True)
        else:
            _set_largest(resource.RLIM_INFINITY)
            for path in [self.folder, *self.folder.rglob("*")]:
                path.chmod(0o755)

    def _fill(self) -> None:
        if self._is_failing and self.is_real:
            with (self.folder / _BALLAST).open("ab") as file:
                free = os.statvfs(self.folder)
                if free.f_bavail:
                    os.posix_fallocate(file.fileno(), file.tell(), free.f_bavail * free.f_frsize)
        elif self._is_failing:
            _set_largest(0)

    def _forbid(self) -> None:
        if self.is_real:
            _mount("-o", "remount,ro", self.folder)
        else:
            for path in [self.folder, *self.folder.rglob("*")]:
                path.chmod(0o555)


def _set_largest(size: int) -> None:
    """Lets no file of this process grow beyond that many bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def has_mounts() -> bool:
    """Returns whether a process may have a disk of its own here."""
    with TemporaryDirectory() as folder:
        disk = Path(folder, "disk")
        disk.mkdir()
        return finish(start(lambda: mount(disk, 1 << 20), Path(folder, "log"))) == 0


def mount(folder: Path, size: int) -> None:
    """Gives this process, which has one thread, a disk of that many bytes at the folder; nobody else sees it.

    Raises:
        OSError: the system does not allow it.
    """
    user, group = os.getuid(), os.getgid()
    unshare = ctypes.CDLL(None, use_errno=True).unshare
    if all(unshare(flags) for flags in _NAMESPACES):
        raise OSError(ctypes.get_errno(), "no namespaces")
    if os.getuid() != user:
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1", encoding="ascii")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1", encoding="ascii")
    for arguments in (["--make-rprivate", "/"], ["-t", "tmpfs", "-o", f"size={size}", "none", folder]):
        _mount(*arguments)


def _mount(*arguments: str | Path) -> None:
    subprocess.run(["mount", *arguments], timeout=_PATIENCE_S, check=True)


def watch(disk: Path, look: Callable[[str], None]) -> None:
    """Calls ``look`` with the path of each file below the folder that this process is about to open for writing."""
    is_looking = False

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal is_looking
        if event != "open" or is_looking or not isinstance(arguments[0], str | os.PathLike):
            return
        path, is_written = os.fspath(arguments[0]), arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if is_written and str(path).startswith(f"{disk}/"):
            is_looking = True
            look(str(path))
            is_looking = False

    sys.addaudithook(hear)

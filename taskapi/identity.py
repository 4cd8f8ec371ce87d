"""The user that runs the embedded PostgreSQL: the one that starts it, except for root, which PostgreSQL refuses."""

import contextlib
import itertools
import os
import pwd
import shutil
import stat
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROGRAMS = os.defpath
"""The path of util-linux' programs. Other systems lack them, or have versions that cannot do this."""


class IdentityError(Exception):
    """PostgreSQL cannot run here. The message says why."""


@dataclass(frozen=True)
class Identity:
    """The user, as seen from outside, that owns the server's files, and the way to start a program as that user."""

    user: int
    group: int
    wrapper: tuple[str, ...] = ()  # a command that runs the command after it
    options: Mapping[str, Any] = field(default_factory=dict)  # for subprocess.run

    def can_run(self, program: Path, folder: Path) -> bool:
        """Whether the user can run this program in this folder: the user may have no access to one of them."""
        try:
            done = subprocess.run(
                [*self.wrapper, "/bin/sh", "-c", 'cd "$0" && "$1" --version', str(folder), str(program)],
                cwd="/",
                capture_output=True,
                **self.options,
            )
        except (OSError, subprocess.SubprocessError):  # the program is missing, or we may not become that user
            return False
        return done.returncode == 0

    def own(self, *paths: Path) -> None:
        """Make the user the owner of these files and folders, and of their contents. Only for root."""
        if os.geteuid() != 0:
            return
        for path in [*paths, *itertools.chain.from_iterable(path.rglob("*") for path in paths)]:
            with contextlib.suppress(FileNotFoundError):  # the last processes of a killed server may still remove files
                if path.lstat().st_uid != self.user:
                    os.chown(path, self.user, self.group, follow_symlinks=False)


def choose(program: Path, folder: Path, data: Path) -> Identity:
    """Find a user that can run the server's `program` with the files in `folder`; `data` may not exist yet.

    Prefers the owner of the data. Raises IdentityError if no user can.
    """
    owner = data.stat() if data.exists() else None
    if os.geteuid() != 0:
        if owner and owner.st_uid != os.geteuid():
            raise IdentityError(f"{data} belongs to another user (uid {owner.st_uid}): run as that user")
        return Identity(os.geteuid(), os.getegid())
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise IdentityError("PostgreSQL does not run as root, and there is no user `nobody` to run it as") from None
    if owner and owner.st_uid not in (0, nobody.pw_uid):  # a user who sometimes runs it without root
        user, group = owner.st_uid, owner.st_gid
        ways = [*_with_setuid(user, group)]
    else:
        user, group = nobody.pw_uid, nobody.pw_gid
        ways = [*_with_setuid(user, group), *_with_namespace(user, group)]
    for identity in sorted(ways, key=lambda way: owner is not None and way.user != owner.st_uid):
        if identity.can_run(program, folder):
            return identity
    for path in (folder, program):
        _check_entry(path, user, group)
    raise IdentityError(f"PostgreSQL does not run as root, and {program} does not run as uid {user} here")


def _with_setuid(user: int, group: int) -> Iterator[Identity]:
    """Start as root, then become the user."""
    yield Identity(user, group, options={"user": user, "group": group, "extra_groups": []})
    # Below a folder that only root may enter, such as root's home, the user needs one of these rights of root to read.
    # In containers, root often has only the second one. Without no_setuid_fixup, access(2) ignores both.
    if setpriv := shutil.which("setpriv", path=PROGRAMS):
        become = (setpriv, f"--reuid={user}", f"--regid={group}", "--clear-groups", "--securebits=+no_setuid_fixup")
        for right in ("dac_read_search", "dac_override"):
            yield Identity(user, group, (*become, f"--inh-caps=+{right}", f"--ambient-caps=+{right}"))


def _with_namespace(user: int, group: int) -> Iterator[Identity]:
    """Stay root outside, with access to root's files, but have the user's number and no rights in a user namespace."""
    if unshare := shutil.which("unshare", path=PROGRAMS):
        yield Identity(0, 0, (unshare, "--user", f"--map-user={user}", f"--map-group={group}"))


def _check_entry(place: Path, user: int, group: int) -> None:
    """Raise IdentityError if the user may not enter the folders down to `place`. Never changes their permissions."""
    for path in [*reversed(place.parents), place]:
        found = path.stat()
        mine = stat.S_IXUSR if found.st_uid == user else stat.S_IXGRP if found.st_gid == group else 0
        if not found.st_mode & (mine or stat.S_IXOTH):
            raise IdentityError(
                f"{path} may not be entered by uid {user}, who runs PostgreSQL for root, which it refuses: "
                "move to a folder that others may enter, such as /srv/taskapi, or run as a normal user"
            )

"""A real systemd, apart from this machine's: its own processes, cgroup and root file system, and deploy/'s units."""

import compileall
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

from taskapi.places import ROOT
from tests.support.closing import Closing
from tests.support.waiting import START, wait_until

SYSTEMD = Path("/lib/systemd/systemd")
UNITS = ("taskapi.service", "taskapi-migrate.service")
CODE = ("taskapi", "alembic", "sql", "deploy", "alembic.ini", "gunicorn.conf.py", "wsgi.py")
TARGETS = ("sysinit", "basic", "shutdown", "network-online", "multi-user", "test")
JOURNAL = ("systemd-journald.service", "systemd-journald.socket", "systemd-journald-dev-log.socket")

MISSING = (
    "systemd is not installed (on Debian: apt-get install systemd)"
    if not SYSTEMD.exists() or not shutil.which("systemd-analyze")
    else "only root can start a systemd of its own: run this test as root"
    if os.geteuid()
    else ""
)
"""Why it cannot run here, and what helps; empty if it can."""


class Systemd(Closing):
    """A running systemd that has the units of deploy/, and the code in /opt/taskapi.

    It shares the network with this machine. Only /usr, Python and its packages are this machine's, and read-only.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Mapping[str, str]]) -> None:
        """`settings`: for each file of /etc/taskapi, such as "taskapi", the variables in it."""
        assert not MISSING, MISSING
        self._log = folder / "systemd.log"
        etc = _etc(folder / "etc", settings)
        (folder / "root").mkdir()
        with self._log.open("wb") as log:
            self._wrapper = subprocess.Popen(
                [
                    *("sh", str(Path(__file__).with_name("root.sh")), str(folder / "root")),
                    *(str(_installed(folder / "code")), sys.base_prefix, sysconfig.get_path("purelib")),
                    str(etc),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._first = 0
        try:
            wait_until(self._runs, "systemd runs", seconds=START)
        except AssertionError as error:
            self.close()
            error.add_note(self._log.read_text(errors="replace"))
            raise

    def close(self) -> None:
        """End it all at once."""
        if self._wrapper.poll() is None:
            self._wrapper.terminate()
        self._wrapper.wait(60)

    def run(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """Run a command inside."""
        namespaces = ("--mount", "--pid", "--uts", "--ipc", "--cgroup")
        return subprocess.run(
            ["nsenter", f"--target={self._first}", *namespaces, "--wd=/", *command],
            env={
                "PATH": "/usr/bin:/usr/sbin:/bin:/sbin",
                "SYSTEMD_PAGER": "",
                "SYSTEMD_UNIT_PATH": "/etc/systemd/system",
            },
            capture_output=True,
            text=True,
        )

    def systemctl(self, *arguments: str) -> None:
        """Run systemctl, which must succeed."""
        done = self.run("systemctl", *arguments)
        assert done.returncode == 0, f"systemctl {arguments}: {done.stderr}{self.journal()}"

    def show(self, name: str, unit: str = "taskapi") -> str:
        """A property of a unit, as systemd has it."""
        return self.run("systemctl", "show", "--value", f"--property={name}", unit).stdout.strip()

    def journal(self) -> str:
        """What all units have logged."""
        return self.run("journalctl", "--quiet", "--no-pager", "--output=short-precise").stdout

    def processes(self) -> dict[int, str]:
        """The processes of taskapi.service, by their ids inside, and their command lines; the first one first."""
        found = self.run("sh", "-c", "cat /sys/fs/cgroup/system.slice/taskapi.service/cgroup.procs").stdout.split()
        return {int(number): self.run("cat", f"/proc/{number}/cmdline").stdout.replace("\0", " ") for number in found}

    def kill(self, process: int, number: signal.Signals) -> None:
        """Send a signal to a process inside."""
        assert self.run("kill", f"-{int(number)}", str(process)).returncode == 0

    def _runs(self) -> bool:
        assert self._wrapper.poll() is None, f"systemd does not start here:\n{self._log.read_text(errors='replace')}"
        # The shell has started unshare, and that the shell which becomes systemd.
        self._first = next((first for started in _children(self._wrapper.pid) for first in _children(started)), 0)
        return bool(self._first) and self.run("systemctl", "is-active", "test.target").stdout == "active\n"


def _children(process: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _installed(code: Path) -> Path:
    """The code as it is installed: with a virtual environment whose Python is the one in /opt/python."""
    for name in CODE:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, code / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, code / name)
    # The service cannot write there.
    compileall.compile_dir(code / "taskapi", quiet=1, stripdir=str(code), prependdir="/opt/taskapi")
    environment = code / ".venv"
    (environment / "bin").mkdir(parents=True)
    (environment / "bin" / "python").symlink_to(f"/opt/python/bin/python{sys.version_info[0]}.{sys.version_info[1]}")
    (environment / "pyvenv.cfg").write_text("home = /opt/python/bin\ninclude-system-site-packages = false\n")
    packages = environment / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    packages.parent.mkdir(parents=True)
    packages.symlink_to("../../site-packages")
    gunicorn = environment / "bin" / "gunicorn"
    _, _, script = (Path(sys.executable).parent / "gunicorn").read_text().partition("\n")
    gunicorn.write_text(f"#!/opt/taskapi/.venv/bin/python\n{script}")
    gunicorn.chmod(0o755)
    for path in code.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path == gunicorn else 0o644)
    code.chmod(0o755)
    return code


def _etc(etc: Path, settings: Mapping[str, Mapping[str, str]]) -> Path:
    """What is to lie in /etc: the units as they are shipped, their environment files, and what they start after."""
    units = etc / "systemd" / "system"
    units.mkdir(parents=True)
    for name in UNITS:
        shutil.copy(ROOT / "deploy" / name, units)
    for name in JOURNAL:
        shutil.copy(SYSTEMD.parent / "system" / name, units)
    for name in TARGETS:
        (units / f"{name}.target").write_text("[Unit]\nDefaultDependencies=no\n")
    (units / "test.target").write_text(
        "[Unit]\nDefaultDependencies=no\nRequires=systemd-journald.service\nAfter=systemd-journald.service\n"
    )
    # Python's own library, and not another one of /usr.
    (etc / "systemd" / "system.conf").write_text("[Manager]\nDefaultEnvironment=LD_LIBRARY_PATH=/opt/python/lib\n")
    (etc / "taskapi").mkdir(mode=0o700)
    for name, variables in settings.items():
        file = etc / "taskapi" / f"{name}.env"
        file.write_text("".join(f"{variable}='{value}'\n" for variable, value in variables.items()))
        file.chmod(0o600)
    return etc

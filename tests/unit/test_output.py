"""What is printed never waits and never fails: readers that rest or are gone, full disks, sockets, forks."""

import os
import pty
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from taskapi.output import Output
from taskapi.places import ROOT
from tests.support.full_pipe import fill

NewOutput = Callable[[int], Output]


@pytest.fixture
def files() -> Iterator[ExitStack]:
    """What is opened in it is closed after the test."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def pipe(files: ExitStack) -> tuple[int, int]:
    """Both ends of a pipe: to read, and to write."""
    reading, writing = os.pipe()
    files.callback(close, reading)
    files.callback(close, writing)
    os.set_blocking(reading, False)
    return reading, writing


def close(descriptor: int) -> None:
    with suppress(OSError):
        os.close(descriptor)


def output_to(descriptor: int) -> Output:
    return Output(descriptor, lambda count: f"{count} lost\n")


def read_all(descriptor: int) -> bytes:
    """All that is in the pipe."""
    text = b""
    with suppress(BlockingIOError):
        while piece := os.read(descriptor, 1 << 20):
            text += piece
    return text


def test_a_pipe_that_nobody_reads(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    output = output_to(writing)
    output.write("first\n")
    fill(writing)
    for number in range(7):
        output.write(f"lost {number}\n")
    assert b"lost" not in read_all(reading)
    output.write("after\n")
    assert read_all(reading) == b"7 lost\nafter\n"
    output.write("and so on\n")
    assert read_all(reading) == b"and so on\n"


def test_a_reader_that_rests_for_a_moment_misses_nothing(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    output = output_to(writing)
    line = "x" * 199 + "\n"
    for _ in range(4000):
        output.write(line)
    assert read_all(reading).decode() == line * 4000


def test_others_that_share_the_pipe_still_wait(pipe: tuple[int, int]) -> None:
    _, writing = pipe
    output_to(writing).write("one\n")
    assert os.get_blocking(writing)


def test_a_line_that_fits_in_part_is_finished_first(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    output = output_to(writing)
    output.write("x" * 3_000_000 + "\n")
    begun = read_all(reading)
    assert 0 < len(begun) < 3_000_000
    while not begun.endswith(b"next\n"):
        output.write("next\n")
        begun += read_all(reading)
    assert re.fullmatch(rb"x{3000000}\n(\d+ lost\n)?(next\n)+", begun)


def test_a_reader_that_is_gone(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    output = output_to(writing)
    output.write("one\n")
    os.close(reading)
    for _ in range(3):
        assert output.write("lost\n") == 5


def test_a_full_disk(files: ExitStack) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    files.callback(os.close, full)
    output = output_to(full)
    for _ in range(3):
        output.write("lost\n")


def test_a_log_file_that_is_replaced(files: ExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As gunicorn does on USR1: another file under the same descriptor."""
    first, second = (os.open(tmp_path / name, os.O_WRONLY | os.O_CREAT) for name in ("first", "second"))
    files.callback(close, first)
    files.callback(close, second)
    output = output_to(first)
    output.write("one\n")
    os.dup2(second, first)
    # A look a second is cheap enough.
    monkeypatch.setattr("taskapi.output.LOOK_INTERVAL", 0.0)
    output._look_again = 0.0
    output.write("two\n")
    assert ((tmp_path / "first").read_text(), (tmp_path / "second").read_text()) == ("one\n", "two\n")


def test_a_socket_that_nobody_reads(files: ExitStack) -> None:
    """journald's is one."""
    ours, theirs = socket.socketpair()
    files.enter_context(ours)
    files.enter_context(theirs)
    output = output_to(ours.fileno())
    for _ in range(2000):
        output.write("x" * 1000 + "\n")
    assert ours.getblocking()
    theirs.setblocking(False)
    assert re.fullmatch(rb"(x{1000}\n)+x*", read_all(theirs.fileno()))
    output.write("after\n")
    assert re.fullmatch(rb"(x*\n)?\d+ lost\nafter\n", read_all(theirs.fileno()))


def test_a_terminal_that_is_stopped(files: ExitStack) -> None:
    leader, follower = pty.openpty()
    files.callback(close, leader)
    files.callback(close, follower)
    output = output_to(follower)
    for _ in range(1000):
        output.write("x" * 1000 + "\n")
    assert os.get_blocking(follower)


def test_another_encoding_and_half_a_character(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    output_to(writing).write("ü \ud800 ·\n")
    assert read_all(reading).decode() == "ü \\ud800 ·\n"


def test_where_the_descriptor_cannot_be_opened_again(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe of another user, or a system without /proc: its room is asked for."""
    monkeypatch.setattr("taskapi.output.AGAIN", "/nowhere/{}")
    reading, writing = pipe
    output = output_to(writing)
    output.write("first\n")
    fill(writing)
    output.write("lost\n")
    assert b"lost" not in read_all(reading)
    output.write("after\n")
    assert read_all(reading) == b"1 lost\nafter\n"


PRINTING = """
import sys
from taskapi.logs import take_over_prints
take_over_prints()
print("half", end=" ")
print("a line\\n\\nanother · one")
print("wrong", file=sys.stderr)
1 / 0
"""


@pytest.mark.parametrize("production", [True, False])
def test_what_is_printed(production: bool) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PRINTING],
        cwd=ROOT,
        env={"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "APP_ENV": " Production " if production else ""},
        capture_output=True,
        check=False,
    )
    printed, wrong = done.stdout.decode(), done.stderr.decode()
    if production:
        assert re.findall(r'"message":"(.*?)"}\n', printed) == ["half a line", "another · one"]
        assert all(re.fullmatch(r'\{"time":"\S+","level":"ERROR",.*\}', line) for line in wrong.splitlines())
    else:
        assert printed == "half a line\n\nanother · one\n"
        assert wrong.startswith("wrong\nTraceback")
    assert "ZeroDivisionError" in wrong


def test_a_stream_that_was_closed_before_the_start(tmp_path: Path) -> None:
    program = """
import os
from taskapi.logs import take_over_prints
take_over_prints()
file = open("precious", "w")
os.write(2, b"no line of a log\\n")
print("nor one of mine")
"""
    done = subprocess.run(
        ["/bin/sh", "-c", '"$0" -c "$1" 1>&- 2>&-', sys.executable, program],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0
    assert not (tmp_path / "precious").read_text()

"""The port that a test gets for a server stays free for it, whatever else on the machine asks for one."""

import socket

import pytest

from tests.support.service import free_port


def test_nobody_gets_it_by_chance() -> None:
    port = free_port()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))
    with socket.create_server(("127.0.0.1", port)):
        assert free_port() != port

"""The keys at JWT_JWKS_URL, from a real server that works, rotates its keys, hangs, drips or talks nonsense."""

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from taskapi import key_server as module
from taskapi.errors import ConfigurationError, KeysUnavailable, MustWait, NoAccess
from taskapi.jwt_keys import Key, UnknownKey, key_of_set
from taskapi.key_server import KeyServer
from taskapi.settings import Settings
from taskapi.sign_in import SignIn
from tests.support import jwts
from tests.support.jwts import KeyHost, Reply, after, body, certificate, dripping, jwk, key, verbatim
from tests.support.waiting import wait_until

ONE, TWO, THREE = (jwk(key("P-256", number), kid=name) for number, name in ((1, "one"), (2, "two"), (3, "three")))

LONG = 1000.0


@pytest.fixture(autouse=True)
def times(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Call it for other times than these: a fetch, then no other, and a patience that lasts on a busy machine."""

    def change(*, pause: float = LONG, fresh: float = LONG, patience: float = 20.0) -> None:
        for name, value in {"PAUSE": pause, "FRESH": fresh, "PATIENCE": patience}.items():
            monkeypatch.setattr(module, name, value)

    change()
    return change


@pytest.fixture
def host() -> Iterator[KeyHost]:
    with KeyHost(ONE, TWO) as made:
        yield made


@pytest.fixture
def server(host: KeyHost) -> KeyServer:
    return KeyServer(host.url)


def is_known(server: KeyServer, name: str | None) -> bool:
    try:
        server.find(name, waits=True)
    except UnknownKey:
        return False
    return True


def comes_back(server: KeyServer, name: str) -> Callable[[], bool]:
    """Whether the key can be had: for wait_until()."""

    def found() -> bool:
        try:
            return is_known(server, name)
        except KeysUnavailable:
            return False

    return found


def same(found: Key, fields: dict[str, Any]) -> bool:
    return found == key_of_set(fields)[1]


def test_keys_are_fetched_once_and_kept(server: KeyServer, host: KeyHost) -> None:
    assert host.asked == 0
    for _ in range(3):
        assert same(server.find("one", waits=True), ONE)
        assert same(server.find("two", waits=False), TWO)
    assert host.asked == 1
    assert server.generation == 1


def test_an_unknown_key_is_asked_for_once_in_a_while(
    server: KeyServer, host: KeyHost, times: Callable[..., None]
) -> None:
    for name in ("three", "four", "", "\ud800", "x" * 5000):
        assert not is_known(server, name)
        with pytest.raises(UnknownKey):
            server.find(name, waits=False)
    assert host.asked == 1
    times(pause=0)
    assert not is_known(server, "three")
    assert host.asked == 2
    times()
    assert not is_known(server, "three")
    assert host.asked == 2
    assert server.generation == 1


def test_new_keys_are_found_and_old_ones_go(server: KeyServer, host: KeyHost, times: Callable[..., None]) -> None:
    assert is_known(server, "one")
    host.reply = jwts.keys(TWO, THREE)
    assert not is_known(server, "three")
    times(pause=0)
    assert same(server.find("three", waits=True), THREE)
    times()
    assert not is_known(server, "one")
    assert is_known(server, "two")
    assert (host.asked, server.generation) == (2, 2)


def test_a_removed_key_goes_once_the_keys_are_old(server: KeyServer, host: KeyHost, times: Callable[..., None]) -> None:
    gate = threading.Event()
    assert is_known(server, "one")
    host.reply = after(gate, jwts.keys(TWO))
    server.refresh(waits=True)
    assert is_known(server, "one"), "they are fresh"
    # As after a night without requests: the first ones wait.
    times(pause=0, fresh=0)
    with pytest.raises(MustWait):
        server.refresh(waits=False)
    gate.set()
    server.refresh(waits=True)
    times()
    assert not is_known(server, "one")


def test_while_requests_come_nobody_waits_for_new_keys(
    server: KeyServer, host: KeyHost, times: Callable[..., None]
) -> None:
    gate = threading.Event()
    assert is_known(server, "one")
    host.reply = after(gate, jwts.keys(TWO))
    times(pause=0)
    server._succeeded -= 1.5 * LONG
    for waits in (True, False):
        server.refresh(waits=waits)
        assert is_known(server, "one")
    gate.set()
    wait_until(lambda: server.generation == 2, "they were fetched in the background")
    assert not is_known(server, "one")


def test_a_remembered_token_goes_with_its_key(host: KeyHost, times: Callable[..., None]) -> None:
    verifier = SignIn(Settings(jwt_jwks_url=host.url))
    mine = jwts.token(key("P-256", 1), "ES256", kid="one")
    for _ in range(2):
        verifier.verify(mine)
    host.reply = jwts.keys(TWO)
    times(pause=0, fresh=0)
    with pytest.raises(NoAccess):
        verifier.verify(mine)


@pytest.mark.parametrize("useless", [(), ({"kty": "oct", "k": "x" * 60, "kid": "one"},)], ids=["none", "of no use"])
def test_who_takes_all_keys_back_is_heard(
    server: KeyServer, host: KeyHost, times: Callable[..., None], useless: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert is_known(server, "one")
    host.reply = jwts.keys(*useless)
    times(pause=0, fresh=0)
    server.refresh(waits=True)
    times()
    assert not is_known(server, "one")
    assert "has no key that tokens could be checked with" in caplog.text


def test_a_key_that_changes_under_its_name(server: KeyServer, host: KeyHost, times: Callable[..., None]) -> None:
    assert same(server.find("one", waits=True), ONE)
    host.reply = jwts.keys({**THREE, "kid": "one"})
    times(pause=0)
    assert not is_known(server, "three")
    times()
    assert same(server.find("one", waits=True), THREE)
    assert server.generation == 2


def test_no_name_is_enough_where_there_is_one_key(server: KeyServer, host: KeyHost, times: Callable[..., None]) -> None:
    assert not is_known(server, None)
    for only in (ONE, jwk(key("P-256"))):
        host.reply = jwts.keys(only)
        times(pause=0)
        assert not is_known(server, "nobody")
        times()
        assert same(server.find(None, waits=False), ONE)
    assert not is_known(server, "one"), "a key without a name"


def test_keys_that_are_of_no_use_are_left_out(server: KeyServer, host: KeyHost) -> None:
    no_use: list[Any] = [
        {"kty": "oct", "kid": "oct", "k": "x" * 64},
        {"kty": "new", "kid": "new"},
        {**TWO, "kid": "enc", "use": "enc"},
        {**TWO, "kid": "alg", "alg": "ES384"},
        {**TWO, "kid": "ops", "key_ops": 5},
        {**TWO, "kid": "ops", "key_ops": None},
        {**TWO, "kid": "crv", "crv": "P-999"},
        {**TWO, "kid": 7},
        *(None, 5, "x", [], {}),
    ]
    host.reply = jwts.keys(*no_use, ONE, *no_use)
    assert same(server.find(None, waits=True), ONE)
    assert is_known(server, "one")
    assert not [name for name in ("oct", "new", "enc", "alg", "ops", "crv", "7") if is_known(server, name)]


SPOILED: dict[str, Reply] = {
    "500": body(b"secret", status=500),
    "404": body(b"secret", status=404),
    "401": body(b"secret", status=401, WWW_Authenticate="Basic"),
    "nothing": body(b""),
    "HTML": body(b"<html>secret</html>", Content_Type="text/html"),
    "not UTF-8": body(b'"secret\xff"'),
    "a list": body(b'["secret"]'),
    "a number": body(b"5"),
    "a long number": body(b'{"keys": %s}' % (b"9" * 5000)),
    "no keys": body(b"{}"),
    "keys that are none": body(b'{"keys": {"one": "secret"}}'),
    "deep": body(b"[" * 100_000),
    "half": body(json.dumps({"keys": [ONE]}).encode()[:-3]),
    "shorter than it says": body(b'{"keys"', Content_Length="1000"),
    "no HTTP": verbatim(b"secret\r\n\r\n"),
    "a long line": verbatim(b"HTTP/1.1 200 OK\r\nsecret: " + b"x" * 100_000),
    "gone": verbatim(b""),
}


@pytest.mark.parametrize("reply", SPOILED.values(), ids=SPOILED)
def test_what_is_no_set_of_keys(
    server: KeyServer,
    host: KeyHost,
    times: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
    reply: Reply,
) -> None:
    good, host.reply = host.reply, reply
    for _ in range(3):
        with pytest.raises(KeysUnavailable):
            server.find("one", waits=True)
    assert host.asked == 1
    assert len(caplog.records) == 1
    assert "cannot be fetched" in caplog.text
    assert "secret" not in caplog.text
    assert len(caplog.text) < 400

    host.reply = good
    times(pause=0)
    assert is_known(server, "one")
    host.reply = reply
    times(pause=0, fresh=0)
    assert is_known(server, "one")
    with pytest.raises(KeysUnavailable):
        server.find("three", waits=True)
    assert is_known(server, "one"), "known keys serve on"
    assert server.generation == 1
    wait_until(server._last.is_over.is_set, "the last fetch is over")


def test_a_redirect_is_not_followed(server: KeyServer, host: KeyHost, caplog: pytest.LogCaptureFixture) -> None:
    with KeyHost(ONE) as other:
        for status in (301, 302, 303, 307, 308):
            host.reply = body(b"", status=status, Location=other.url)
            with pytest.raises(KeysUnavailable):
                KeyServer(host.url).find("one", waits=True)
            assert f"HTTP status {status}" in caplog.text
        assert other.asked == 0


def test_the_largest_answer(host: KeyHost) -> None:
    whole = json.dumps({"keys": [ONE]}).encode().ljust(module.LARGEST)
    host.reply = body(whole)
    assert is_known(KeyServer(host.url), "one")
    host.reply = body(whole + b" ")
    with pytest.raises(KeysUnavailable):
        KeyServer(host.url).find("one", waits=True)


def test_an_endless_answer(host: KeyHost) -> None:
    host.reply = dripping(b"HTTP/1.1 200 OK\r\n\r\n", b" " * 100_000)
    with pytest.raises(KeysUnavailable):
        KeyServer(host.url).find("one", waits=True)


def test_a_server_that_is_down(host: KeyHost, times: Callable[..., None], caplog: pytest.LogCaptureFixture) -> None:
    server = KeyServer(host.url)
    assert is_known(server, "one")
    host.close()
    times(pause=0, fresh=0)
    for _ in range(3):
        with pytest.raises(KeysUnavailable):
            server.find("three", waits=True)
        assert is_known(server, "one")
        wait_until(server._last.is_over.is_set, "the last fetch is over")
    with pytest.raises(KeysUnavailable):
        KeyServer(host.url).find("one", waits=True)
    assert "refused" in caplog.text


def test_over_tls_the_certificate_counts(
    times: Callable[..., None], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = certificate(tmp_path)
    with KeyHost(ONE, certificate=file) as host:
        with pytest.raises(KeysUnavailable):
            KeyServer(host.url).find("one", waits=True)
        assert "CERTIFICATE_VERIFY_FAILED" in caplog.text
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
        assert is_known(KeyServer(host.url), "one")
        with pytest.raises(KeysUnavailable):
            KeyServer(host.url.replace("127.0.0.1", "localhost")).find("one", waits=True)
        host.reply = dripping(b"HTTP/1.1 200 OK\r\nX: ", b"x")
        server = KeyServer(host.url)
        times(patience=0.5)
        with pytest.raises(KeysUnavailable):
            server.find("one", waits=True)
        wait_until(server._last.is_over.is_set, "the fetch gives up", seconds=5)


def test_who_has_a_known_key_does_not_wait(server: KeyServer, host: KeyHost, times: Callable[..., None]) -> None:
    assert is_known(server, "one")
    gate = threading.Event()
    host.reply = after(gate, jwts.keys(THREE))
    times(pause=0, fresh=0)
    with ThreadPoolExecutor(3) as threads:
        waiting = [threads.submit(is_known, server, "three") for _ in range(3)]
        wait_until(lambda: host.asked == 2, "the server is asked")
        for _ in range(100):
            assert same(server.find("one", waits=True), ONE)
            assert same(server.find("two", waits=False), TWO)
            with pytest.raises(MustWait):
                server.find("three", waits=False)
        assert not any(one.done() for one in waiting)
        times()
        gate.set()
        assert all(one.result() for one in waiting)
    assert host.asked == 2
    assert not is_known(server, "one")


def test_who_must_not_wait_does_not(server: KeyServer, host: KeyHost) -> None:
    gate = threading.Event()
    host.reply = after(gate, host.reply)
    for _ in range(3):
        with pytest.raises(MustWait):
            server.find("one", waits=False)
    gate.set()
    assert same(server.find("one", waits=True), ONE)
    assert same(server.find("one", waits=False), ONE)
    assert host.asked == 1


@pytest.mark.parametrize("reply", [None, body(b"", status=500)])
def test_who_must_not_wait_is_told_of_a_fetch_that_failed(host: KeyHost, reply: Reply | None) -> None:
    if reply:
        host.reply = reply
    else:
        host.close()
    server = KeyServer(host.url)
    with pytest.raises(KeysUnavailable):
        server.find("one", waits=True)
    with pytest.raises(KeysUnavailable):
        server.find("one", waits=False)


def test_a_server_that_hangs(server: KeyServer, host: KeyHost, times: Callable[..., None]) -> None:
    gate = threading.Event()
    good, host.reply = host.reply, after(gate, host.reply)
    times(pause=0, patience=0.1)
    with pytest.raises(KeysUnavailable):
        server.find("one", waits=True)
    host.reply = good
    times(pause=0)
    wait_until(comes_back(server, "one"), "the keys are fetched, for all that hangs")
    gate.set()


def test_who_waits_does_so_for_a_while(server: KeyServer, host: KeyHost, times: Callable[..., None]) -> None:
    """It is not the same as the fetch's own while: that may have begun by a longer one."""
    gate = threading.Event()
    host.reply = after(gate, host.reply)
    with pytest.raises(MustWait):
        server.find("one", waits=False)
    wait_until(lambda: host.asked, "the server is asked")
    times(patience=0.05)
    with pytest.raises(KeysUnavailable):
        server.find("one", waits=True)
    assert not gate.is_set()
    times()
    gate.set()
    assert is_known(server, "one")
    assert host.asked == 1


HEAD = b"HTTP/1.1 200 OK\r\n"

DRIPS = {
    "a body": dripping(HEAD + b"Content-Length: 100000\r\n\r\n", b" "),
    "a body without an end": dripping(HEAD + b"\r\n", b" "),
    "a status": dripping(b"HTTP/1.1 200 ", b"x"),
    "a header": dripping(HEAD + b"X: ", b"x"),
    "a chunk": dripping(HEAD + b"Transfer-Encoding: chunked\r\n\r\n10000\r\n", b" "),
    "a chunk's length": dripping(HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;", b"x"),
    "a trailer": dripping(HEAD + b'Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX: "', b"x"),
    "Continue": dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
}


@pytest.mark.parametrize("reply", DRIPS.values(), ids=DRIPS)
def test_a_server_that_drips(server: KeyServer, host: KeyHost, times: Callable[..., None], reply: Reply) -> None:
    good, host.reply = host.reply, reply
    times(patience=0.1)
    with pytest.raises(KeysUnavailable):
        server.find("one", waits=True)
    wait_until(server._last.is_over.is_set, "the fetch gives up", seconds=5)
    host.reply = good
    times(pause=0)
    assert is_known(server, "one")


@pytest.mark.parametrize(
    "url",
    [
        *("", "keys", "ftp://id.example/keys", "file:///etc/passwd", "https://", "https:///keys", "//id.example/keys"),
        *(
            "http://id.example:65536/",
            "http://id.example:x/",
            "http://id.example:0/",
            "http://[::1/",
            "http://b\u00fc.ch",
        ),
        *("http://id.example/a b", "http://id.example/\x7f", "http://id.example/a\tb\nc"),
    ],
    ids=ascii,
)
def test_what_is_no_address_of_keys(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    for name in ("JWT_SECRET", "JWT_PUBLIC_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("JWT_JWKS_URL", url)
    with pytest.raises(ConfigurationError) as refused:
        Settings.from_environment()
    assert str(refused.value).startswith("JWT_JWKS_URL: ")
    assert "id.example" not in str(refused.value)


def test_the_address_of_keys_may_be_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("JWT_SECRET", "JWT_PUBLIC_KEY"):
        monkeypatch.delenv(name, raising=False)
    for url in ("https://id.example/keys?key=secret", "HTTP://id.example:8080", "http://[::1]:1/keys"):
        monkeypatch.setenv("JWT_JWKS_URL", url)
        settings = Settings.from_environment()
        assert settings.jwt_jwks_url == url
        assert url not in repr(settings)


def test_many_unknown_keys_at_once_are_one_fetch(server: KeyServer, host: KeyHost) -> None:
    gate = threading.Event()
    host.reply = after(gate, host.reply)
    with ThreadPoolExecutor(50) as threads:
        found = [threads.submit(is_known, server, f"unknown {number}") for number in range(49)]
        found.append(threads.submit(is_known, server, "one"))
        wait_until(lambda: host.asked, "the server is asked")
        gate.set()
        assert [one.result() for one in found] == [False] * 49 + [True]
    assert host.asked == 1


def test_where_no_thread_can_be_had_the_next_one_tries(server: KeyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        with pytest.raises(KeysUnavailable):
            server.find("one", waits=True)
    assert is_known(server, "one")

"""What the code leans on inside of gunicorn, gevent, Werkzeug, Flask and SQLAlchemy: see decision 14.

A version that changes it fails here, by name.
"""

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

import flask
import flask.signals
import gevent
import gunicorn.http.wsgi
import gunicorn.util
import pytest
from blinker import NamedSignal
from flask import Flask, Response, g, request
from gevent.hub import Waiter
from gunicorn.config import Config
from gunicorn.workers.base import Worker as BaseWorker
from gunicorn.workers.base_async import AsyncWorker
from sqlalchemy.pool import Pool
from werkzeug.test import create_environ

from taskapi.app import create_app
from taskapi.database.stack import Stack
from taskapi.server import worker
from taskapi.settings import Settings
from taskapi.web.application import Application
from taskapi.web.envelope import Answer

HEADERS = [
    ("Content-Type", "application/json"),
    ("Content-Length", "3"),
    ("X-Request-Id", "one"),
    ("X-Content-Type-Options", "nosniff"),
    ("Cache-Control", "no-store"),
]


class TestGunicorn:
    def test_a_setting_is_searched_for_until_it_is_an_attribute(self) -> None:
        config, searched = Config(), Config()
        worker.keep_settings_at_hand(config)
        for name in searched.settings:
            assert repr(getattr(config, name)) == repr(getattr(searched, name)), name
        assert "__getattr__" in vars(Config)

    def test_the_constants_of_an_environment(self) -> None:
        """They are the same for every request, and shared but for the dictionary."""
        assert gunicorn.http.wsgi.base_environ(Config()).keys() == {
            "wsgi.errors", "wsgi.version", "wsgi.multithread", "wsgi.multiprocess", "wsgi.run_once",
            "wsgi.file_wrapper", "wsgi.input_terminated", "SERVER_SOFTWARE",
        }  # fmt: skip
        assert "base_environ(cfg)" in inspect.getsource(gunicorn.http.wsgi.default_environ)

    def test_names_that_it_looks_up_at_each_use(self) -> None:
        """These are replaced in its modules: it has no hook for them."""
        assert "response_class = Response" in inspect.getsource(gunicorn.http.wsgi.create)
        assert "default_environ(req, sock, cfg)" in inspect.getsource(gunicorn.http.wsgi.create)
        assert "wsgi.create(" in inspect.getsource(AsyncWorker.handle_request)
        assert "util.write_error(client, status_int, reason, mesg)" in inspect.getsource(BaseWorker.handle_error)

    def test_a_request_is_read_within_the_workers_own_limit(self) -> None:
        assert "with self.timeout_ctx():\n                            req = next(parser)" in inspect.getsource(
            AsyncWorker.handle
        )

    @pytest.mark.parametrize("version", [(1, 0), (1, 1)])
    @pytest.mark.parametrize("headers", [HEADERS, HEADERS[:1], [("Location", " /x"), ("Connection", "close")]])
    def test_a_head_is_the_same(
        self, version: tuple[int, int], headers: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(gunicorn.util, "http_date", lambda _=None: "now")
        monkeypatch.setattr(worker, "http_date", lambda: "now")

        def head(kind: Callable[..., Any]) -> str:
            response = kind(_Request(version), None, Config())
            response.start_response("200 OK", list(headers))
            assert response.response_length == (3 if headers is HEADERS else None)
            return "".join(response.default_headers()) + str(response.headers)

        class Ours(worker.Response):
            def should_close(self) -> bool:
                return gunicorn.http.wsgi.Response.should_close(self)  # type: ignore[no-any-return]

        assert head(Ours) == head(gunicorn.http.wsgi.Response)

    def test_a_header_that_is_no_constant_is_checked(self) -> None:
        response = worker.Response(_Request((1, 1)), None, Config())
        with pytest.raises(gunicorn.http.wsgi.InvalidResponseHeader):
            response.process_headers([("X-Request-Id", "one\r\nSet-Cookie: two")])


class _Request:
    """As much of a request as a head is made of."""

    method = "GET"

    def __init__(self, version: tuple[int, int]) -> None:
        self.version = version

    def should_close(self) -> bool:
        return False


class TestGevent:
    def test_a_waiter_keeps_what_comes_when_nobody_waits(self) -> None:
        waiter = Waiter()
        waiter.switch(True)
        assert waiter.get() is True

    def test_events_of_the_loop(self) -> None:
        """1 is for reading and 2 for writing; a timer runs in the hub, and once."""
        hub = gevent.get_hub()
        ran: list[object] = []
        ours, theirs = gevent.socket.socketpair()
        timer, readable, writable = (hub.loop.timer(0.0), *(hub.loop.io(ours.fileno(), kind) for kind in (1, 2)))
        timer.start(lambda: ran.append(gevent.getcurrent() is hub))
        readable.start(ran.append, "readable")
        writable.start(ran.append, "writable")
        gevent.sleep(0.05)
        for watcher in (timer, readable, writable):
            watcher.close()
        ours.close()
        theirs.close()
        assert True in ran
        assert "writable" in ran
        assert "readable" not in ran


class TestWerkzeugAndFlask:
    @pytest.mark.parametrize("path", ["/api/v1/tasks", "//api", "/ä?x=ü", "/"])
    @pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "[::1]:8000", "bad host", "ä.example"])
    def test_an_adapter_is_what_flask_would_make(self, path: str, host: str) -> None:
        environ = create_environ(path, headers={"Host": host.encode().decode("latin-1")})
        ours, theirs = (vars(app.create_url_adapter(app.request_class(environ))) for app in _applications())
        del ours["map"], theirs["map"]
        assert ours == theirs

    def test_a_host_that_is_no_name_is_refused_as_by_flask(self) -> None:
        environ = create_environ("/", headers={"Host": "a" * 64})
        for app in _applications():
            assert app.request_context(environ).request.routing_exception.code == 400  # type: ignore[union-attr]

    def test_requests_in_one_context_of_the_application_share_nothing(self) -> None:
        app = Application("test")
        app.add_url_rule("/", view_func=lambda: str(g.setdefault("seen", request.args["who"])))
        with app.app_context():
            assert [app.test_client().get(f"/?who={who}").text for who in "ab"] == ["a", "b"]

    def test_a_request_takes_the_applications_context_that_is_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        app = Application("test")
        with app.app_context():
            monkeypatch.setattr(app, "app_context", lambda: pytest.fail("another one was made"))
            assert app.test_client().get("/").status_code == 404

    def test_what_flask_would_do_besides_to_answer_a_request(self) -> None:
        """Signals, and functions that run after an answer: what Application.full_dispatch_request leaves out."""
        full, final = inspect.getsource(Flask.full_dispatch_request), inspect.getsource(Flask.finalize_request)
        assert re.findall(r"self\.(\w+)\(|(\w+)\.send\(", full + final) == [
            ("", "request_started"), ("preprocess_request", ""), ("dispatch_request", ""),
            ("handle_user_exception", ""), ("finalize_request", ""),
            ("make_response", ""), ("process_response", ""), ("", "request_finished"),
        ]  # fmt: skip
        app = create_app(Settings(database_url="postgresql:///nowhere"))
        assert not app.teardown_request_funcs
        assert not [
            signal for signal in vars(flask.signals).values() if isinstance(signal, NamedSignal) and signal.receivers
        ]

    def test_functions_that_run_after_requests_run(self) -> None:
        app, ran = Application("test"), list[str]()

        def noting(name: str) -> Callable[[Response], Response]:
            def note(response: Response) -> Response:
                ran.append(name)
                return response

            return note

        one = flask.Blueprint("one", "one")
        one.after_request(noting("one's"))
        one.add_url_rule("/one", view_func=lambda: "1")
        app.register_blueprint(one)
        app.add_url_rule("/", view_func=lambda: "0")
        for path in ("/", "/one"):
            assert app.test_client().get(path).status_code == 200
        assert ran == ["one's"]
        app.after_request_funcs[None] = [noting("all's")]
        app.test_client().get("/nowhere")
        assert ran == ["one's", "all's"]

    def test_there_are_no_sessions(self) -> None:
        app = Application("test")
        with app.test_request_context() as context:
            assert app.session_interface.is_null_session(context.session)

    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    @pytest.mark.parametrize("status", [200, 201, 404, 422, 503])
    def test_an_answer_is_what_werkzeug_would_send(self, method: str, status: int) -> None:
        def sent(response: Response) -> tuple[str, dict[str, str], bytes]:
            started: list[Any] = []
            body = b"".join(response(create_environ(method=method), lambda *parts: started.extend(parts)))  # type: ignore[arg-type]
            return started[0], dict(started[1]), body

        headers = {"Location": "/x"}
        ours, theirs = (
            Answer([b"{", b"}"], status, headers),
            Response(b"{}", status, headers, content_type="application/json"),
        )
        assert sent(ours) == sent(theirs)
        for response in (ours, theirs):
            response.headers["Vary"] = "Origin"
            assert response.status_code == status
        assert sent(ours) == sent(theirs)
        assert sent(ours)[1]["Vary"] == "Origin"


def _applications() -> Iterator[Flask]:
    yield Application("test")
    yield Flask("test")


class _Connection:
    is_open = True

    def close(self) -> None:
        self.is_open = False


class TestSqlalchemy:
    def test_a_pool_asks_its_subclass_for_this(self) -> None:
        asked = {name for name, method in vars(Pool).items() if NotImplementedError.__name__ in _source(method)}
        assert asked == {"recreate", "dispose", "_do_get", "_do_return_conn", "status"}

    def test_the_last_one_back_is_the_next_one_out(self) -> None:
        pool = Stack(_Connection, reset_on_return=None)
        first, second = pool.connect(), pool.connect()
        connections = [first.dbapi_connection, second.dbapi_connection]
        first.close()
        second.close()
        assert pool.connect().dbapi_connection is connections[1]

    def test_what_was_closed_is_not_kept(self) -> None:
        pool = Stack(_Connection, reset_on_return=None)
        pooled = pool.connect()
        pooled.invalidate()
        pooled.close()
        assert not pool.has_idle()

    def test_what_is_idle_can_be_closed(self) -> None:
        pool = Stack(_Connection, reset_on_return=None)
        pooled = pool.connect()
        connection = pooled.dbapi_connection
        pooled.close()
        assert pool.has_idle()
        pool.dispose()
        assert not pool.has_idle()
        assert not connection.is_open  # type: ignore[union-attr]

    def test_one_that_is_too_old_is_replaced_in_another_of_the_same_kind(self) -> None:
        pool = Stack(_Connection, reset_on_return=None, recycle=0).recreate()
        pooled = pool.connect()
        old = pooled.dbapi_connection
        pooled.close()
        assert pool.connect().dbapi_connection is not old


def _source(method: Any) -> str:
    return inspect.getsource(method) if inspect.isfunction(method) else ""

"""What a request does not do: each of these has a price, and would come back unseen (decision 14)."""

import subprocess
import sys

import orjson

from taskapi.places import ROOT
from taskapi.repository import Repository
from tests.support.environment import environment_of
from tests.support.tasks import id_of

REQUESTS = 50

# In a process of its own, because gevent changes the whole of it. gunicorn's worker serves both ends of a connection.
PROGRAM = """
# Before gevent changes anything, as gunicorn's first process does.
from taskapi.server.worker import Name, Worker
from gevent import monkey
monkey.patch_all()
import json, os, sys
import gevent, gevent.socket
import gunicorn.config, gunicorn.http.wsgi
from gevent.hub import get_hub
from sqlalchemy.pool import base
from taskapi.server.logger import QuietLogger

counts = dict.fromkeys(("settings", "environments", "timers", "watchers", "locks", "dates", "hosts", "sessions"), 0)

def counted(name, function):
    def call(*arguments, **options):
        counts[name] += 1
        return function(*arguments, **options)
    return call

class Loop:
    def __init__(self, loop):
        self.timer, self.io = counted("timers", loop.timer), counted("watchers", loop.io)
        self._loop = loop
    def __getattr__(self, name):
        return getattr(self._loop, name)

class Lock:
    def __init__(self, lock):
        self._lock = lock
    def __enter__(self):
        counts["locks"] += 1
        return self._lock.__enter__()
    def __exit__(self, *error):
        return self._lock.__exit__(*error)

class Program:
    def wsgi(self):
        from wsgi import app
        return app

get_hub().loop = Loop(get_hub().loop)
config = gunicorn.config.Config()
config.set("logger_class", QuietLogger)
config.set("keepalive", 20)
worker = Worker(1, os.getppid(), [], Program(), 60, config, QuietLogger(config))
worker.load_wsgi()

database = worker.wsgi.extensions["taskapi.database"]
database._permits._mutex = Lock(database._permits._mutex)
type(config).__getattr__ = counted("settings", type(config).__getattr__)
gunicorn.http.wsgi.WSGIErrorsWrapper.__init__ = counted("environments", gunicorn.http.wsgi.WSGIErrorsWrapper.__init__)
gunicorn.util.http_date = counted("dates", gunicorn.util.http_date)
import werkzeug.sansio.utils
werkzeug.sansio.utils.host_is_trusted = counted("hosts", werkzeug.sansio.utils.host_is_trusted)
import flask.sessions
flask.sessions.NullSession.__init__ = counted("sessions", flask.sessions.NullSession.__init__)

listener = gevent.socket.socket()
listener.bind(("127.0.0.1", 0))
worker.names = {listener: Name(listener)}
theirs, ours = gevent.socket.socketpair()
serving = gevent.spawn(worker.handle, listener, ours, ("127.0.0.1", 1))
request = f"GET /api/v1/tasks/{sys.argv[1]} HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n".encode()

def ask(times):
    for _ in range(times):
        theirs.sendall(request)
        answer = theirs.recv(65536)
        assert answer.startswith(b"HTTP/1.1 200 OK\\r\\n"), answer

ask(5)
for name in counts:
    counts[name] = 0
ask(int(sys.argv[2]))
print(json.dumps(counts), flush=True)
os._exit(0)
"""


def test_nothing_is_done_at_each_request_that_could_be_done_once(database_url: str, repository: Repository) -> None:
    task_id = id_of(repository.create_task(title="counted", description=None))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(task_id), str(REQUESTS)],
        cwd=ROOT,
        env=environment_of(DATABASE_URL=database_url, TASKAPI_SLOTS="", LOG_LEVEL="WARNING", WEB_CONCURRENCY="1"),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    counts = orjson.loads(done.stdout.splitlines()[-1])
    # The date is made anew each second, and a timer is set anew when it has run out.
    assert counts.pop("dates") < REQUESTS / 2
    assert counts.pop("timers") < REQUESTS / 10
    assert set(counts.values()) == {0}, counts

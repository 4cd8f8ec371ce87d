"""Where the service is: at an IPv6 address, below the start of a path, with settings of a .env file."""

import re
import socket
from collections.abc import Callable, Iterator
from urllib.parse import urljoin, urlsplit

import httpx
import pytest

from tests.support.envelope import data_of, error_of
from tests.support.service import Service, has_ipv6
from tests.support.tasks import NOBODY

PREFIX = "/team/tasks"


@pytest.fixture(scope="module")
def placed(start_shared: Callable[..., Service], tmp_path_factory: pytest.TempPathFactory) -> Service:
    """A service at ::1, below PREFIX, which has its other settings from a file."""
    file = tmp_path_factory.mktemp("settings") / "mine.env"
    file.write_text("HOST=127.0.0.2\nMETRICS=on\nTRUSTED_HOSTS=[::1],127.0.0.1\nCORS_ORIGINS=http://[::1]:3000/\n")
    host = "::1" if has_ipv6() else "127.0.0.1"
    return start_shared(ENV_FILE=str(file), HOST=host, SCRIPT_NAME=PREFIX)


@pytest.fixture
def visitor(placed: Service) -> Iterator[httpx.Client]:
    """A client of it, which takes paths below the prefix."""
    with placed.client() as client:
        yield client
    assert "Traceback" not in placed.log


def test_an_ipv6_address(placed: Service, visitor: httpx.Client) -> None:
    data_of(visitor.get("/api/v1/tasks"))
    # On a machine that has them; an origin may be one on every machine.
    if has_ipv6():
        assert urlsplit(placed.url).hostname == "::1"
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", placed.port))
    answer = visitor.get("/api/v1/tasks", headers={"Origin": "http://[::1]:3000"})
    assert answer.headers["Access-Control-Allow-Origin"] == "http://[::1]:3000"


def test_settings_of_the_file(visitor: httpx.Client) -> None:
    assert "taskapi_requests_total" in visitor.get("/metrics").text
    error_of(visitor.get("/api/v1/tasks", headers={"Host": "localhost"}), 400)


def test_the_ready_line_leads_below_the_prefix(placed: Service) -> None:
    assert f"http://localhost:{placed.port}{PREFIX}/api/docs" in placed.log
    assert f"-X POST http://localhost:{placed.port}{PREFIX}/api/v1/tasks" in placed.log


def test_the_location_of_a_task_stays_below_the_prefix(placed: Service, visitor: httpx.Client) -> None:
    created = visitor.post("/api/v1/tasks", json={"title": "x"})
    task = data_of(created, 201, "TASK_CREATED")
    assert created.headers["Location"] == f"{PREFIX}/api/v1/tasks/{task['id']}"
    assert data_of(visitor.get(urljoin(placed.url, created.headers["Location"]))) == task


def test_so_do_links(placed: Service, visitor: httpx.Client) -> None:
    for _ in range(2):
        data_of(visitor.post("/api/v1/tasks", json={"title": "x"}), 201, "TASK_CREATED")
    answer = visitor.get("/api/v1/tasks?limit=1")
    assert answer.links["monitor"]["url"].startswith(f"{PREFIX}/api/v1/changes?after=")
    root = placed.url.removesuffix(PREFIX)
    assert data_of(visitor.get(root + answer.links["next"]["url"])) == data_of(visitor.get("/api/v1/tasks"))[1:2]
    answer = visitor.get("/api/v1/history?limit=1")
    second = data_of(visitor.get("/api/v1/history?limit=1&page=2"))
    assert data_of(visitor.get(root + answer.links["next"]["url"]))["items"] == second["items"]


@pytest.mark.parametrize("path", ["", "/"])
def test_the_root_leads_to_the_docs_below_the_prefix(placed: Service, visitor: httpx.Client, path: str) -> None:
    answer = visitor.get(placed.url + path, follow_redirects=False)
    assert answer.status_code == 302
    assert answer.headers["Location"] == f"{PREFIX}/api/docs"


def test_what_the_docs_page_asks_for_is_below_the_prefix(placed: Service, visitor: httpx.Client) -> None:
    page = visitor.get("/api/docs")
    addresses = re.findall(r"""\b(?:src|href)=["']([^"':]+)["']""", page.text)
    script = visitor.get("/api/docs/redoc.js").text
    (document,) = re.findall(r"""fetch\("([^"]+)"\)""", script)
    assert len(addresses) == 3
    for address in [*addresses, document]:
        url = urljoin(str(page.url), address)
        assert url.startswith(f"{placed.url}/api/")
        assert visitor.get(url).status_code == 200


def test_the_document_names_the_prefix_as_its_server(placed: Service, visitor: httpx.Client) -> None:
    document = visitor.get("/api/openapi.json").json()
    assert [server["url"] for server in document["servers"]] == [PREFIX]
    assert all(path.startswith("/api/v1/") for path in document["paths"])


@pytest.mark.parametrize("spelled", [PREFIX, PREFIX.replace("t", "%74")])
def test_probes_and_spellings(placed: Service, visitor: httpx.Client, spelled: str) -> None:
    data_of(visitor.get(placed.url.replace(PREFIX, f"{spelled}/api/v1/health/ready"), headers={"Host": "10.0.0.7"}))


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/api/v1/tasks",
        "/api/v1/health",
        "/api/docs",
        "/team",
        "/team/",
        "/team/tasksx/api/v1/tasks",
        "//team/tasks/api/v1/tasks",
        "/Team/tasks/api/v1/tasks",
        f"{PREFIX}{PREFIX}/api/v1/tasks",
        f"{PREFIX}/nothing",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_a_path_outside_is_404_and_says_where_the_docs_are(
    placed: Service, visitor: httpx.Client, method: str, path: str
) -> None:
    answer = visitor.request(method, placed.url.removesuffix(PREFIX) + path)
    assert f"{PREFIX}/api/docs" in error_of(answer, 404)
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Request-Id"]


def test_a_client_cannot_move_it(placed: Service, visitor: httpx.Client) -> None:
    for name in ("Script-Name", "X-Script-Name", "X-Forwarded-Prefix"):
        created = visitor.post("/api/v1/tasks", json={"title": "x"}, headers={name: "/evil"})
        assert created.headers["Location"].startswith(f"{PREFIX}/api/v1/tasks/")


def test_the_path_of_an_unknown_task(visitor: httpx.Client) -> None:
    assert error_of(visitor.get(f"/api/v1/tasks/{NOBODY}"), 404) == "There is no such task."

"""Sign-in by JWT over HTTP: who is let in, and that no forged token is."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import jwt
import pytest

from taskapi.access import CHALLENGE
from taskapi.errors import NoAccess
from taskapi.sign_in import REASONS
from taskapi.web.access import PROBES
from tests.support import raw
from tests.support.envelope import data_of, envelope_of, error_of
from tests.support.jwts import KeyHost, by_secret, encoded, jwk, key, pem, soon, token
from tests.support.service import Service
from tests.support.sql import Sql

AUDIENCE, ISSUER = "https://tasks.example", "https://id.example"


def made(private: Any = None, algorithm: str = "RS256", *, kid: str | None = None, **claims: Any) -> str:
    return token(private or key("RSA-2048"), algorithm, kid=kid, **{"aud": AUDIENCE, "iss": ISSUER, **claims})


EXPIRED, EARLY, OTHERS_AUDIENCE, OTHERS_ISSUER = REASONS.values()


@pytest.fixture(scope="module")
def good() -> str:
    return made()


@pytest.fixture(scope="module")
def service(start_shared: Callable[..., Service], good: str) -> Iterator[Service]:
    """A service that takes the tokens of an RSA key, and one of a machine."""
    running = start_shared(
        JWT_PUBLIC_KEY=pem(key("RSA-2048")).replace("\n", "\\n"),
        JWT_AUDIENCE=f"https://other.example, {AUDIENCE}",
        JWT_ISSUER=ISSUER,
        API_TOKENS="robot:machine-token",
        WEB_CONCURRENCY="1",
    )
    yield running
    assert "Traceback" not in running.log
    parts = [part[start : start + 12] for part in good.split(".")[1:] for start in range(len(part) - 11)]
    assert not [part for part in parts if part in running.log]
    assert "machine-token" not in running.log


@pytest.fixture
def stranger(service: Service) -> Iterator[httpx.Client]:
    """A client without a token."""
    with service.client() as client:
        yield client


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


def assert_refused(answer: httpx.Response, reason: str = NoAccess.sentence) -> None:
    assert error_of(answer, 401) == reason
    assert answer.headers["WWW-Authenticate"] == CHALLENGE["WWW-Authenticate"]


def test_a_good_token_opens(stranger: httpx.Client, good: str) -> None:
    for scheme in ("Bearer", "bearer", "BEARER"):
        data_of(stranger.get("/api/v1/tasks", headers={"Authorization": f"{scheme} {good}"}))
    headers = bearer(made(aud=["x", AUDIENCE], nbf=soon(-5), iat=soon(-5), scope="x", jti="1"))
    data_of(stranger.post("/api/v1/tasks", json={"title": "mine"}, headers=headers), 201, "TASK_CREATED")


def test_whose_a_task_is(stranger: httpx.Client, module_database_url: str) -> None:
    callers = {name: (name, made(sub=name)) for name in ("bob", "carol", "ö'; --")}
    callers["default"] = ("robot", "machine-token")
    for owner, (name, text) in callers.items():
        data_of(stranger.post("/api/v1/tasks", json={"title": owner}, headers=bearer(text)), 201, "TASK_CREATED")
        (task,) = data_of(stranger.get("/api/v1/tasks", headers=bearer(text)))
        assert task["title"] == owner
        (entry,) = data_of(stranger.get("/api/v1/history", headers=bearer(text)))["items"]
        assert (entry["task_title"], entry["actor"]) == (owner, name)
    with Sql(module_database_url) as sql:
        found = dict(sql.rows("SELECT title, owner FROM tasks WHERE title <> 'mine'"))
    assert found == {owner: owner for owner in callers}


def forged(good: str) -> dict[str, str]:
    """Tokens that nobody may get in with, by what is wrong with them."""
    head, payload, signature = good.split(".")
    claims = {"sub": "ann", "exp": soon(), "aud": AUDIENCE, "iss": ISSUER}
    public, other = pem(key("RSA-2048")), key("RSA-2048", 2)
    algorithms: list[Any] = ["none", "None", "NONE", "nOnE", "none ", "", None, [], {}, 0, "HS256", "PS256", "RS257"]
    own_key = {"jwk": jwk(other), "jku": "http://127.0.0.1:1/", "x5u": "http://127.0.0.1:1/", "kid": "/dev/null"}
    garbage = ["x", ".", "..", "....", "a.b.c", "e30.e30.e30", "é", "\xff\xfe", "*"]
    return {
        **{f"alg {alg!r}, unsigned": f"{encoded({'alg': alg})}.{payload}." for alg in algorithms},
        **{f"alg {alg!r}": f"{encoded({'alg': alg})}.{payload}.{signature}" for alg in algorithms},
        "no alg": f"{encoded({'typ': 'JWT'})}.{payload}.{signature}",
        "signed with the PEM": by_secret(claims, public),
        "signed with the PEM's text": by_secret(claims, public.strip()),
        "signed with the setting": by_secret(claims, public.replace("\n", "\\n")),
        "signed with nothing": by_secret(claims, b""),
        "another RSA key": made(other),
        "another kind of key": made(key("P-256"), "ES256"),
        "a key of its own": jwt.encode(claims, other, "RS256", own_key),
        "an unencoded payload": f"{encoded({'alg': 'RS256', 'b64': False, 'crit': ['b64']})}.{payload}.{signature}",
        "another's payload": f"{head}.{encoded({**claims, 'sub': 'bob'})}.{signature}",
        "no signature": f"{head}.{payload}.",
        "no last part": f"{head}.{payload}",
        "four parts": f"{good}.{signature}",
        "five parts": ".".join([head, "", "", payload, signature]),
        "twice": f"{good} {good}",
        "a list": f"{good},{good}",
        "upper case": good.upper(),
        "quoted": f'"{good}"',
        "JSON": json.dumps({"payload": payload, "protected": head, "signature": signature}),
        "a claim of the wrong type": made(jti=5),
        "the machine's name": "robot",
        **{f"garbage {text!r}": text for text in garbage},
    }


def test_a_forged_token_is_refused(service: Service, good: str) -> None:
    for name, text in forged(good).items():
        for method, path in (("GET", "/api/v1/tasks"), ("POST", "/api/v1/tasks"), ("GET", "/api/v1/nothing")):
            request = raw.sized(method, path, b'{"title": "forged"}', {**raw.JSON, **bearer(text)})
            answer = raw.send(service.port, request)
            assert answer.status_code == 401, name
            assert_refused(answer)


def test_who_has_a_real_token_is_told_why_it_is_not_taken(stranger: httpx.Client) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"exp": soon(-100)}, EXPIRED),
        ({"exp": 0}, EXPIRED),
        ({"nbf": soon(100)}, EARLY),
        ({"iat": soon(100)}, EARLY),
        ({"aud": "https://others.example"}, OTHERS_AUDIENCE),
        ({"aud": ["https://others.example"]}, OTHERS_AUDIENCE),
        ({"iss": "https://others.example"}, OTHERS_ISSUER),
        ({"aud": ""}, "The token has no aud, which this service needs."),
        ({"exp": None}, "The token has no exp, which this service needs."),
        ({"sub": "default"}, "The token's sub is default, which is the owner of what needs no JWT."),
        *(
            ({"sub": sub}, "The token's sub cannot be an owner: it must be 1 to 255 printable characters.")
            for sub in ("", "x" * 256, "a\0b", "\ud800")
        ),
    ]
    for claims, reason in cases:
        assert_refused(stranger.get("/api/v1/tasks", headers=bearer(made(**claims))), reason)
        assert_refused(stranger.get("/api/v1/tasks", headers=bearer(made(key("RSA-2048", 2), **claims))))


def test_a_token_that_is_too_long(service: Service, good: str) -> None:
    head, _, signature = good.split(".")
    fitting = made(x="x" * 5000)
    assert len(fitting) > 7000
    envelope_of(raw.send(service.port, raw.request("GET", "/api/v1/tasks", bearer(fitting))))
    for text in (made(x="x" * 7000), "x" * 1_000_000, good + "." * 1_000_000, f"{head}.{'x' * 1_000_000}.{signature}"):
        answer = raw.send(service.port, raw.request("GET", "/api/v1/tasks", bearer(text)))
        assert answer.status_code in (400, 401, 431)
        envelope_of(answer)


def test_a_token_has_one_place(stranger: httpx.Client, good: str) -> None:
    for tokens in ([good, good], [good, "machine-token"], [good, "x"], ["x", good]):
        headers = [("Authorization", f"Bearer {text}") for text in tokens]
        assert_refused(stranger.get("/api/v1/tasks", headers=headers))
    for scheme in ("Basic", "JWT", "DPoP"):
        assert_refused(stranger.get("/api/v1/tasks", headers={"Authorization": f"{scheme} {good}"}))
    assert_refused(stranger.get(f"/api/v1/tasks?access_token={good}"))
    assert_refused(
        stranger.get("/api/v1/tasks", headers={"Cookie": f"token={good}", "X-Authorization": f"Bearer {good}"})
    )


def test_probes_preflights_and_the_docs_need_no_token(
    stranger: httpx.Client, good: str, pytestconfig: pytest.Config
) -> None:
    data_of(stranger.get("/api/v1/health"))
    # Row-level security does not hold for the tests' role; through the pooler, it is the lesser one.
    ready = 200 if pytestconfig.getoption("--pgbouncer") else 503
    assert stranger.get("/api/v1/health/ready").status_code == ready
    for path in ("/api/docs", "/api/openapi.json"):
        assert stranger.get(path).status_code == 200
    asked = {
        "Origin": "http://localhost:3000",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    assert stranger.options("/api/v1/tasks", headers=asked).status_code == 200
    for path in PROBES:
        assert stranger.get(path, headers=bearer(good[:-1])).status_code in (200, 503)


def test_a_page_may_read_why(stranger: httpx.Client) -> None:
    headers = {"Origin": "http://localhost:3000", **bearer(made(exp=soon(-100)))}
    answer = stranger.get("/api/v1/tasks", headers=headers)
    assert_refused(answer, EXPIRED)
    assert answer.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"


@pytest.mark.parametrize("digits", [300, 400, 4000])
def test_a_token_that_hardly_ever_expires_is_no_fault(stranger: httpx.Client, digits: int) -> None:
    """A client that waits for changes does so no longer than its token lasts."""
    headers = bearer(made(exp=10**digits))
    assert stranger.get("/api/v1/changes?wait=1", headers=headers).status_code in (200, 401)


def test_the_keys_of_a_set(start_shared: Callable[..., Service]) -> None:
    kinds = {"Ed25519": "EdDSA", "Ed448": "EdDSA", "P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
    secret = "x" * 64
    listed = [
        {"kty": "oct", "kid": "oct", "k": encoded(secret.encode())},
        jwk(key("RSA-2048", 2), kid="enc", use="enc"),
    ]
    listed += [jwk(key(kind), kid=kind, use="sig", alg=algorithm) for kind, algorithm in kinds.items()]
    listed.append(jwk(key("RSA-2048"), kid="rsa"))
    with KeyHost(*listed) as host:
        service = start_shared(JWT_JWKS_URL=host.url, WEB_CONCURRENCY="1")
        with service.client() as client:
            assert host.asked == 0
            for kind, algorithm in kinds.items():
                for _ in range(2):
                    headers = bearer(token(key(kind), algorithm, kid=kind))
                    data_of(client.get("/api/v1/tasks", headers=headers))
            data_of(client.get("/api/v1/tasks", headers=bearer(token(key("RSA-2048"), "RS512", kid="rsa"))))
            for text in (
                token(key("P-256"), "ES256", kid="P-384"),
                token(key("P-256", 2), "ES256", kid="P-256"),
                token(key("P-256"), "ES256", kid="unknown"),
                token(key("P-256"), "ES256", kid=""),
                token(key("P-256"), "ES256"),
                token(key("RSA-2048", 2), "RS256", kid="enc"),
                token(secret, "HS256", kid="oct"),
                by_secret({"sub": "ann", "exp": soon()}, pem(key("RSA-2048")), kid="rsa"),
                by_secret({"sub": "ann", "exp": soon()}, b"", kid="unknown\ud800"),
            ):
                assert_refused(client.get("/api/v1/tasks", headers=bearer(text)))
            assert host.asked == 1
        assert "Traceback" not in service.log

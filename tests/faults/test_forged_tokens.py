"""No change to a token is accepted: bytes flipped, parts swapped, cut or doubled, other headers and other claims."""

import http.client
import json
import random
from base64 import urlsafe_b64decode
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from taskapi.access import CHALLENGE
from tests.support.jwts import by_secret, encoded, key, pem, soon, token
from tests.support.load import Client

CONNECTIONS = 4

Parts = list[str]

PRINTABLE = [chr(code) for code in (*range(0x20, 0x7F), *range(0xA0, 0x100))]
"""What a header may carry."""

ALGORITHMS = [
    "none",
    "None",
    "NONE",
    "",
    "HS256",
    "HS384",
    "HS512",
    "RS384",
    "RS512",
    "PS256",
    "ES256",
    "EdDSA",
    None,
    5,
]
HEADERS: list[dict[str, Any]] = [
    *({"alg": algorithm} for algorithm in ALGORITHMS),
    *({"kid": kid} for kid in ("x", "", "../../etc/passwd", "' OR 1=1 --", None, 5, ["x"], "\ud800", "x" * 4000)),
    *({"jku": "http://127.0.0.1:1/"}, {"x5u": "http://127.0.0.1:1/"}, {"crit": ["exp"]}, {"b64": False}, {"typ": "x"}),
    *({"b64": False, "crit": ["b64"]}, {"zip": "DEF"}, {"enc": "A128GCM"}, {"jwk": {"kty": "oct", "k": "AAAA"}}),
]
CLAIMS: list[dict[str, Any]] = [
    *({"sub": sub} for sub in ("bob", "default", "", None, 5, "a\0b", "\ud800", "x" * 300, ["ann"])),
    *({"exp": exp} for exp in (2**33, 1e300, None, "never", "9" * 30, -1, True)),
    *({"aud": "x"}, {"iss": "x"}, {"nbf": 0}, {"iat": 0}, {"admin": True}, {"x": "x" * 3000}),
]


def decoded(part: str) -> bytes:
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))


def flipped_byte(chance: random.Random, parts: Parts, _: Parts) -> str:
    text = list(".".join(parts))
    for _times in range(chance.choice((1, 1, 2, 10))):
        text[chance.randrange(len(text))] = chance.choice(PRINTABLE)
    return "".join(text)


def flipped_bit(chance: random.Random, parts: Parts, _: Parts) -> str:
    number = chance.randrange(3)
    content = bytearray(decoded(parts[number]))
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    return ".".join([*parts[:number], encoded(bytes(content)), *parts[number + 1 :]])


def swapped(chance: random.Random, parts: Parts, others: Parts) -> str:
    found = [*parts]
    if chance.random() < 0.5:
        chance.shuffle(found)
    else:
        number = chance.choice((1, 2))
        found[number] = others[number]
    return ".".join(found)


def cut(chance: random.Random, parts: Parts, _: Parts) -> str:
    text = ".".join(parts)
    start, end = sorted(chance.sample(range(len(text) + 1), 2))
    return chance.choice((text[:start], text[end:], text[start:end], text[:start] + text[end:]))


def doubled(chance: random.Random, parts: Parts, others: Parts) -> str:
    text = ".".join(parts)
    start, end = sorted(chance.sample(range(len(text) + 1), 2))
    number = chance.randrange(3)
    again = ".".join([*parts[: number + 1], *parts[number:]])
    both = chance.choice(("", ".", ",", ", ", " ", ";")).join((text, chance.choice((text, ".".join(others)))))
    return chance.choice((again, both, text[:end] + text[start:]))


def other_header(chance: random.Random, parts: Parts, _: Parts) -> str:
    header = {**json.loads(decoded(parts[0])), **chance.choice(HEADERS)}
    return ".".join([encoded(header), parts[1], chance.choice(("", parts[2]))])


def other_claims(chance: random.Random, parts: Parts, _: Parts) -> str:
    claims = {**json.loads(decoded(parts[1])), **chance.choice(CLAIMS)}
    return ".".join([parts[0], encoded(claims), parts[2]])


def other_spelling(chance: random.Random, parts: Parts, _: Parts) -> str:
    """The same JSON in other bytes."""
    number = chance.randrange(2)
    spelled = json.dumps(json.loads(decoded(parts[number])), indent=chance.randrange(1, 9)).encode()
    return ".".join([*parts[:number], encoded(spelled), *parts[number + 1 :]])


def other_key(chance: random.Random, parts: Parts, _: Parts) -> str:
    claims = {**json.loads(decoded(parts[1])), **chance.choice(CLAIMS)}
    public = pem(key("RSA-2048"))
    secret = chance.choice((public, public.strip(), public.replace("\n", "\\n"), "", parts[2], "secret"))
    return by_secret(claims, secret, **chance.choice(({}, {"kid": "x"}, {"typ": "JWT"})))


CHANGES: list[Callable[[random.Random, Parts, Parts], str]] = [
    flipped_byte,
    flipped_bit,
    swapped,
    cut,
    doubled,
    other_header,
    other_claims,
    other_spelling,
    other_key,
]


class Bearer(Client):
    """A client with a token."""

    def ask(self, text: str) -> tuple[int, http.client.HTTPMessage, bytes]:
        headers = {"Authorization": f"Bearer {text}".encode("latin-1")}
        self._connection.request("GET", "/api/v1/tasks?limit=1", headers=headers)
        answer = self._connection.getresponse()
        return answer.status, answer.headers, answer.read()


def test_no_change_to_a_token_is_accepted(
    start_service: Any, sized: Callable[[int, int], int], figure: Callable[[str], None]
) -> None:
    private = key("RSA-2048")
    good, others = (token(private, "RS256", sub=sub, iat=soon(-10)) for sub in ("ann", "bob"))
    service = start_service(JWT_PUBLIC_KEY=pem(private), DB_CONNECTIONS=str(CONNECTIONS))
    chance = random.Random(17)
    forged: list[tuple[str, str]] = []
    while len(forged) < sized(500, 10_000):
        change = CHANGES[len(forged) % len(CHANGES)]
        text = change(chance, good.split("."), others.split("."))
        # White space around a token is none of its.
        if text.strip() not in (good, others) and len(text) < 8000:
            forged.append((change.__name__, text))

    def ask(number: int) -> Counter[str]:
        told: Counter[str] = Counter()
        with Bearer(service.port) as client:
            for name, text in forged[number::CONNECTIONS]:
                status, headers, body = client.ask(text)
                assert status == 401, (name, status, text)
                assert headers["WWW-Authenticate"] == CHALLENGE["WWW-Authenticate"]
                envelope = json.loads(body)
                assert list(envelope) == ["success", "data", "popup", "error"]
                told[envelope["error"]] += 1
        return told

    with Bearer(service.port) as client:
        assert [client.ask(text)[0] for text in (good, others)] == [200, 200]
        with ThreadPoolExecutor(CONNECTIONS) as threads:
            told = sum(threads.map(ask, range(CONNECTIONS)), Counter[str]())
        assert [client.ask(text)[0] for text in (good, others)] == [200, 200]
    assert len(told) == 1, "who has no good signature is told nothing"
    log = service.log
    assert "Traceback" not in log
    assert log.count(" 401 ") >= len(forged)
    secret = {part for text in (good, others) for part in text.split(".")[1:]}
    assert not [part for part in secret for start in range(len(part) - 11) if part[start : start + 12] in log]
    figure(f"{len(forged)} forged tokens, none accepted")

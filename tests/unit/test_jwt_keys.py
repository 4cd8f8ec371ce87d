"""The keys of JWTs: which algorithms each kind is for, and what is refused."""

from typing import Any

import pytest

from taskapi.jwt_keys import Key, OneKey, key_of_set, public_key, secret_key
from tests.support.jwts import jwk, key, pem, private_pem

RS = ("RS256", "RS384", "RS512")

KINDS = {
    "RSA-2048": RS,
    "P-256": ("ES256",),
    "P-384": ("ES384",),
    "P-521": ("ES512",),
    "Ed25519": ("EdDSA",),
    "Ed448": ("EdDSA",),
}


@pytest.mark.parametrize(
    ("length", "algorithms"),
    [
        (32, ("HS256",)),
        (47, ("HS256",)),
        (48, ("HS256", "HS384")),
        (63, ("HS256", "HS384")),
        (64, ("HS256", "HS384", "HS512")),
        (1000, ("HS256", "HS384", "HS512")),
    ],
)
def test_the_length_of_a_secret_is_in_bytes(length: int, algorithms: tuple[str, ...]) -> None:
    assert secret_key("x" * length) == Key(b"x" * length, algorithms)
    assert secret_key("é" * (length // 2) + "x" * (length % 2)).algorithms == algorithms


@pytest.mark.parametrize("secret", ["", "x", "x" * 31, "é" * 15, "\udc80" * 40])
def test_a_short_secret_is_refused(secret: str) -> None:
    with pytest.raises(ValueError):
        secret_key(secret)


def test_a_key_of_another_kind_is_no_secret() -> None:
    """Who has set JWT_SECRET to a public key would take tokens that everybody can sign."""
    mine = key("RSA-2048")
    for text in (pem(mine), private_pem(mine), pem(key("P-256")), str(jwk(mine)).replace("'", '"'), "ssh-rsa AAAA" * 9):
        with pytest.raises(ValueError):
            secret_key(text)


@pytest.mark.parametrize("kind", KINDS)
def test_the_algorithms_of_a_public_key(kind: str) -> None:
    found = public_key(pem(key(kind)))
    assert found == Key(key(kind).public_key(), KINDS[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_a_pem_may_be_in_one_line(kind: str) -> None:
    text = pem(key(kind))
    for spelled in (text.strip(), text.replace("\n", "\\n"), text.strip().replace("\n", "\\n")):
        assert public_key(spelled) == public_key(text)


@pytest.mark.parametrize("kind", ["RSA-1024", "secp256k1"])
def test_weak_and_unusual_keys_are_refused(kind: str) -> None:
    with pytest.raises(ValueError):
        public_key(pem(key(kind)))
    with pytest.raises(ValueError):
        key_of_set(jwk(key(kind)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_private_key_is_refused(kind: str) -> None:
    with pytest.raises(ValueError):
        public_key(private_pem(key(kind)))


@pytest.mark.parametrize("text", ["", "x" * 64, "-----BEGIN PUBLIC KEY-----", "\ud800", "ssh-ed25519 AAAA"])
def test_what_is_no_pem_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        public_key(text)


def test_a_damaged_pem_is_refused() -> None:
    lines = pem(key("RSA-2048")).splitlines()
    for damaged in ("\n".join(lines[:3] + lines[4:]), "\n".join(lines[:-1]), "\n".join(lines).replace("PUBLIC", "X")):
        with pytest.raises(ValueError):
            public_key(damaged)


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_of_a_set(kind: str) -> None:
    given = jwk(key(kind))
    assert key_of_set(given) == (None, public_key(pem(key(kind))))
    full = {**given, "kid": "one", "use": "sig", "key_ops": ["verify"], "x5t": "x", "new": [1]}
    assert key_of_set(full) == ("one", public_key(pem(key(kind))))


@pytest.mark.parametrize("kind", KINDS)
def test_an_alg_narrows_a_key_down(kind: str) -> None:
    for algorithm in KINDS[kind]:
        assert key_of_set(jwk(key(kind), alg=algorithm))[1].algorithms == (algorithm,)
    others: list[Any] = ["HS256", "none", "RSA-OAEP", "PS256", "", "rs256", ["RS256"], 5, *set(RS) - set(KINDS[kind])]
    for algorithm in others:
        with pytest.raises(ValueError):
            key_of_set(jwk(key(kind), alg=algorithm))


def test_only_the_public_part_of_a_key_is_kept() -> None:
    """A key server that shows private keys has a fault."""
    mine = key("RSA-2048")
    numbers = mine.private_numbers()
    shown = {**jwk(mine, kid="one"), "d": "AQAB", "p": "AQAB", "qi": str(numbers.p)}
    assert key_of_set(shown)[1] == public_key(pem(mine))


@pytest.mark.parametrize(
    "fields",
    [
        {"use": "enc"},
        {"key_ops": ["encrypt"]},
        {"key_ops": ["sign"]},
        {"key_ops": []},
        {"kid": 5},
        {"kid": ["one"]},
        {"kty": "oct", "k": "x" * 64},
        {"kty": "oct"},
        {"kty": "EC"},
        {"kty": "OKP"},
        {"kty": "new"},
        {"kty": None},
        {"kty": ["RSA"]},
        {"n": "AQAB"},
        {"n": ""},
        {"n": 5},
        {"n": None},
        {"e": None},
        {"e": "AA"},
        {"e": "\ud800"},
    ],
    ids=str,
)
def test_a_key_that_is_of_no_use_here(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        key_of_set({**jwk(key("RSA-2048")), **fields})


@pytest.mark.parametrize("fields", [None, 5, "RSA", [], {}, {"kty": "RSA"}, {"kty": "EC", "crv": "P-256"}], ids=str)
def test_what_is_no_key(fields: Any) -> None:
    with pytest.raises(ValueError):
        key_of_set(fields)


def test_a_point_that_is_not_on_the_curve_is_no_key() -> None:
    mine = jwk(key("P-256"))
    for wrong in ({"x": mine["y"]}, {"crv": "P-384"}, {"crv": "secp256k1"}, {"crv": ["P-256"]}, {"y": "A" * 43}):
        with pytest.raises(ValueError):
            key_of_set({**mine, **wrong})


def test_one_key_whatever_a_token_calls_it() -> None:
    one = OneKey(secret_key("x" * 32))
    for name in (None, "", "one", "\ud800"):
        assert one.find(name, waits=False) is one.find(None, waits=True)

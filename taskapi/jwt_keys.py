"""The keys that JWTs are verified with, each with the algorithms of its kind (RFC 7518): a token never chooses."""

from dataclasses import dataclass
from typing import Any, Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

SHORTEST_SECRET = 32
"""Bytes: those of the shortest digest, as RFC 7518, section 3.2, asks for."""

SHORTEST_RSA = 2048
"""Bits, as RFC 7518, section 3.3, asks for."""

OTHER_KINDS = ("-----BEGIN ", "ssh-", "ecdsa-", "{")
"""How keys begin that are no secrets: PyJWT would refuse every token."""

DIGESTS = {"HS256": 32, "HS384": 48, "HS512": 64}
CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}


@dataclass(frozen=True)
class Key:
    """A key as PyJWT takes it, and the algorithms that go with it."""

    material: Any
    algorithms: tuple[str, ...]


class Keys(Protocol):
    """Where the key of a token is found."""

    generation: int
    """Another number once keys have been added or removed."""

    def refresh(self, *, waits: bool) -> None:
        """Have the keys fetched again if they are old. Raises MustWait, as find() does."""

    def find(self, name: str | None, *, waits: bool) -> Key:
        """The key of this name, which is a token's `kid`; None: the token names none.

        Raises UnknownKey, KeysUnavailable. Without `waits`, raises MustWait rather than asking anybody for it.
        """


class UnknownKey(Exception):
    """No key has this name."""


class OneKey:
    """The key of JWT_SECRET or JWT_PUBLIC_KEY, whatever a token calls it."""

    generation = 0

    def __init__(self, key: Key) -> None:
        self._key = key

    def refresh(self, *, waits: bool) -> None:
        """See Keys. There is nothing to fetch."""

    def find(self, name: str | None, *, waits: bool) -> Key:
        """See Keys."""
        return self._key


def secret_key(text: str) -> Key:
    """A secret that the issuer has, too: HS256, and with at least 48 or 64 bytes HS384 and HS512.

    Raises ValueError for a shorter one than 32 bytes, and for a key of another kind.
    """
    secret = text.encode()
    if text.startswith(OTHER_KINDS):
        raise ValueError("a key of another kind")
    if len(secret) < SHORTEST_SECRET:
        raise ValueError("too short")
    return Key(secret, tuple(name for name, size in DIGESTS.items() if len(secret) >= size))


def public_key(pem: str) -> Key:
    """An RSA, EC or EdDSA key as PEM; `\\n` may stand for the end of a line. Raises ValueError for anything else."""
    try:
        loaded = load_pem_public_key(pem.replace("\\n", "\n").encode())
    except UnsupportedAlgorithm:
        raise ValueError("of another kind") from None
    return _key(loaded)


def key_of_set(fields: Any) -> tuple[str | None, Key]:
    """One key of a set, and its name (RFC 7517). Raises ValueError for a key that is of no use here."""
    # Not at the top: it loads ssl, which gevent has to patch first, and the master reads this module.
    from jwt import PyJWK, PyJWTError

    if not isinstance(fields, dict) or fields.get("kty") not in ("RSA", "EC", "OKP"):
        raise ValueError("of another kind")
    if (fields.get("use") or "sig") != "sig" or "verify" not in fields.get("key_ops", ["verify"]):
        raise ValueError("for something else")
    # Only the public part: a key server that shows private keys has a fault, and it is not ours to keep them.
    public = {name: value for name, value in fields.items() if name in ("kty", "n", "e", "crv", "x", "y")}
    try:
        # PyJWT knows the algorithm of Ed25519 by itself, but not that of Ed448.
        key = _key(PyJWK(public, "EdDSA" if public["kty"] == "OKP" else None).key)
    except PyJWTError:
        raise ValueError("unreadable") from None
    name, algorithm = fields.get("kid"), fields.get("alg")
    if algorithm is not None:
        key = Key(key.material, tuple(one for one in key.algorithms if one == algorithm))
    if not key.algorithms or not isinstance(name, str | None):
        raise ValueError("of another algorithm")
    return name, key


def _key(loaded: Any) -> Key:
    if isinstance(loaded, rsa.RSAPublicKey) and loaded.key_size >= SHORTEST_RSA:
        return Key(loaded, ("RS256", "RS384", "RS512"))
    if isinstance(loaded, ec.EllipticCurvePublicKey) and loaded.curve.name in CURVES:
        return Key(loaded, (CURVES[loaded.curve.name],))
    if isinstance(loaded, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        return Key(loaded, ("EdDSA",))
    raise ValueError("of another kind, or too short")

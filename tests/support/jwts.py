"""JWTs in the tests: keys of each kind, tokens good and forged, and a key server that does what it is told."""

import hmac
import json
import ssl
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from tests.support.closing import Closing

SECRET = "a secret of 32 bytes or of some more"

CURVES: dict[str, ec.EllipticCurve] = {
    "P-256": ec.SECP256R1(),
    "P-384": ec.SECP384R1(),
    "P-521": ec.SECP521R1(),
    "secp256k1": ec.SECP256K1(),
}


def key(kind: str, number: int = 1) -> Any:
    """A private key, which each run makes once: `RSA-2048`, `P-256`, `Ed25519`…; `number` tells several apart."""
    return _made(kind, number)


@cache
def _made(kind: str, number: int) -> Any:
    if kind.startswith("RSA-"):
        return rsa.generate_private_key(65537, int(kind[4:]))
    if kind in CURVES:
        return ec.generate_private_key(CURVES[kind])
    return ed25519.Ed25519PrivateKey.generate() if kind == "Ed25519" else ed448.Ed448PrivateKey.generate()


def pem(private: Any) -> str:
    """The public part of a private key."""
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    return str(private.public_key().public_bytes(serialization.Encoding.PEM, spki).decode())


def private_pem(private: Any) -> str:
    pkcs8, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return str(private.private_bytes(serialization.Encoding.PEM, pkcs8, none).decode())


def jwk(private: Any, **fields: Any) -> dict[str, Any]:
    """The public part as a key of a set, with these fields, too."""
    public = private.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        found = jwt.algorithms.RSAAlgorithm.to_jwk(public, as_dict=True)
    elif isinstance(public, ec.EllipticCurvePublicKey):
        found = jwt.algorithms.ECAlgorithm.to_jwk(public, as_dict=True)
    else:
        found = jwt.algorithms.OKPAlgorithm.to_jwk(public, as_dict=True)
    # PyJWT tells there that a public key verifies.
    return {**{name: value for name, value in found.items() if name != "key_ops"}, **fields}


def soon(seconds: float = 3600) -> int:
    """A time so many seconds from now."""
    return int(time.time() + seconds)


def token(private: Any, algorithm: str, *, kid: str | None = None, **claims: Any) -> str:
    """A good token of Ann's, with these claims."""
    headers = {"kid": kid} if kid is not None else None
    return jwt.encode({"sub": "ann", "exp": soon(), **claims}, private, algorithm, headers)


def encoded(part: bytes | dict[str, Any]) -> str:
    """A part of a token: bytes, or an object as JSON."""
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def by_secret(payload: bytes | dict[str, Any], secret: str | bytes = SECRET, **header: Any) -> str:
    """A token as no library would make it, signed by HS256, with these fields in its header."""
    signed = f"{encoded({'alg': 'HS256', **header})}.{encoded(payload)}"
    secret = secret.encode() if isinstance(secret, str) else secret
    return f"{signed}.{encoded(hmac.digest(secret, signed.encode(), 'sha256'))}"


def certificate(folder: Path) -> Path:
    """A file with a certificate of 127.0.0.1, which it has signed itself, and its key."""
    private, now = key("P-256", 9), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    made = (
        x509.CertificateBuilder(name, name, private.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(private, hashes.SHA256())
    )
    file = folder / "certificate.pem"
    file.write_text(private_pem(private) + made.public_bytes(serialization.Encoding.PEM).decode())
    return file


Reply = Callable[[BaseHTTPRequestHandler], None]


def body(content: bytes, *, status: int = 200, **headers: str) -> Reply:
    """Answers with this; headers have _ for -."""

    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(content)

    return reply


def verbatim(content: bytes) -> Reply:
    """Answers with these bytes, and no head of ours."""

    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(content)

    return reply


def keys(*listed: Any) -> Reply:
    """Answers with a set of these keys."""
    return body(json.dumps({"keys": listed}).encode(), Content_Type="application/json")


def after(gate: threading.Event, reply: Reply) -> Reply:
    """Hangs until the gate is open, and answers then."""

    def late(handler: BaseHTTPRequestHandler) -> None:
        gate.wait(60)
        reply(handler)

    return late


def dripping(start: bytes, piece: bytes) -> Reply:
    """Sends the start, and then a piece after the other until the client has gone."""

    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(start)
        while True:
            handler.wfile.write(piece)
            time.sleep(0.01)

    return reply


class KeyHost(Closing):
    """A key server on a free port. It answers by `reply`; `asked` is how often it was asked."""

    def __init__(self, *listed: Any, certificate: Path | None = None) -> None:
        """`certificate`: of certificate(); it speaks TLS then."""
        self.reply = keys(*listed)
        self.asked = 0
        host = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                host.asked += 1
                # Who asks may have gone.
                with suppress(ConnectionError, ssl.SSLError):
                    host.reply(self)

            def log_message(self, *_: Any) -> None:
                """Nothing: it would be on the tests' stderr."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{self._server.server_port}/keys"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

"""Sign-in by JWT: which tokens are taken, whose they are, what is said of the others, and what is remembered."""

import json
import math
import time
from typing import Any

import jwt
import pytest

from taskapi import sign_in as module
from taskapi.callers import OWNER
from taskapi.errors import MustWait, NoAccess
from taskapi.jwt_keys import Key, UnknownKey, public_key
from taskapi.settings import Settings
from taskapi.sign_in import LONGEST, REASONS, SignIn
from tests.support.jwts import SECRET, by_secret, encoded, key, pem, soon, token

EXPIRED, EARLY, AUDIENCE, ISSUER = REASONS.values()


def lacks(claim: str) -> str:
    return f"The token has no {claim}, which this service needs."


def no_owner(claim: str) -> str:
    return f"The token's {claim} cannot be an owner: it must be 1 to 255 printable characters."


def no_jwt_s(claim: str) -> str:
    return f"The token's {claim} is default, which is the owner of what needs no JWT."


def sign_in(**settings: Any) -> SignIn:
    return SignIn(Settings(**{"jwt_secret": SECRET, **settings}))


def signed(**claims: Any) -> str:
    """A token of Ann's with these claims; a claim that is None it does not have."""
    given = {"sub": "ann", "exp": soon(), **claims}
    return by_secret({name: value for name, value in given.items() if value is not None})


def refusal(verifier: SignIn, text: str) -> str:
    with pytest.raises(NoAccess) as refused:
        verifier.verify(text)
    return str(refused.value)


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tokens that are verified from now on."""
    seen: list[str] = []
    decode = jwt.decode

    def count(text: str, *arguments: Any, **options: Any) -> Any:
        seen.append(text)
        return decode(text, *arguments, **options)

    monkeypatch.setattr(jwt, "decode", count)
    return seen


# Algorithms


@pytest.mark.parametrize("length", [32, 48, 64])
def test_a_secret_is_for_digests_that_are_no_longer(length: int) -> None:
    secret = "x" * length
    verifier = sign_in(jwt_secret=secret)
    for name, size in {"HS256": 32, "HS384": 48, "HS512": 64}.items():
        padded = secret.ljust(64, "\0")  # HMAC's own padding: the same key.
        given = token(padded, name)
        if size <= length:
            assert verifier.verify(given).owner == "ann"
        else:
            assert refusal(verifier, given) == NoAccess.sentence


KINDS = {
    "RSA-2048": "RS256",
    "P-256": "ES256",
    "P-384": "ES384",
    "P-521": "ES512",
    "Ed25519": "EdDSA",
    "Ed448": "EdDSA",
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_public_key_takes_tokens_of_its_own_alone(kind: str) -> None:
    verifier = sign_in(jwt_secret=None, jwt_public_key=pem(key(kind)))
    assert verifier.verify(token(key(kind), KINDS[kind], kid="any")).owner == "ann"
    for other, algorithm in KINDS.items():
        if other != kind:
            assert refusal(verifier, token(key(other), algorithm)) == NoAccess.sentence
    assert refusal(verifier, token(key(kind, 2), KINDS[kind])) == NoAccess.sentence


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512"])
def test_rsa_has_three_algorithms(algorithm: str) -> None:
    verifier = sign_in(jwt_secret=None, jwt_public_key=pem(key("RSA-2048")))
    assert verifier.verify(token(key("RSA-2048"), algorithm)).owner == "ann"
    padded = token(key("RSA-2048"), algorithm.replace("RS", "PS"))
    assert refusal(verifier, padded) == NoAccess.sentence


@pytest.mark.parametrize("kind", KINDS)
def test_a_public_key_is_no_secret(kind: str) -> None:
    text = pem(key(kind))
    verifier = sign_in(jwt_secret=None, jwt_public_key=text)
    payload = {"sub": "ann", "exp": soon()}
    for secret in (text, text.strip(), text.replace("\n", "\\n"), "".join(text.splitlines()[1:-1])):
        assert refusal(verifier, by_secret(payload, secret)) == NoAccess.sentence


@pytest.mark.parametrize(
    "alg", ["none", "None", "NONE", "nOnE", "", " none", "HS256 ", "hs256", "HS1", None, 0, True, [], ["HS256"], {}]
)
def test_other_algorithms(alg: Any) -> None:
    good = by_secret({"sub": "ann", "exp": soon()}, alg=alg)
    for text in (good, good.rpartition(".")[0] + "."):
        assert refusal(sign_in(), text) == NoAccess.sentence
        assert refusal(sign_in(jwt_secret=None, jwt_public_key=pem(key("P-256"))), text) == NoAccess.sentence


@pytest.mark.parametrize(
    "header",
    [
        {"kid": 5},
        {"kid": None},
        {"kid": ["one"]},
        {"b64": False},
        {"b64": False, "crit": ["b64"]},
        {"crit": ["exp"]},
        {"crit": []},
        {"crit": "b64"},
    ],
    ids=str,
)
def test_headers_that_are_refused(header: dict[str, Any]) -> None:
    assert refusal(sign_in(), by_secret({"sub": "ann", "exp": soon()}, **header)) == NoAccess.sentence


def test_headers_that_do_not_matter() -> None:
    header: dict[str, Any] = {
        "typ": "at+jwt",
        "jku": "http://127.0.0.1:1/",
        "jwk": {"kty": "oct", "k": "AAAA"},
        "x5u": "x",
        "kid": "é",
    }
    assert sign_in().verify(by_secret({"sub": "ann", "exp": soon()}, **header)).owner == "ann"


# Times


def test_a_token_must_expire() -> None:
    assert refusal(sign_in(), signed(exp=None)) == lacks("exp")
    assert refusal(sign_in(), by_secret({"sub": "ann", "exp": None})) == lacks("exp")


@pytest.mark.parametrize("leeway", [0, 30, 600])
def test_the_leeway_is_for_every_time(leeway: int) -> None:
    verifier = sign_in(jwt_leeway=leeway)
    late, early = soon(-leeway - 100), soon(leeway + 100)
    assert refusal(verifier, signed(exp=late)) == EXPIRED
    assert refusal(verifier, signed(nbf=early)) == EARLY
    assert refusal(verifier, signed(iat=early)) == EARLY
    if leeway > 20:
        exp = soon(20 - leeway)
        assert verifier.verify(signed(exp=exp, nbf=soon(leeway - 20), iat=soon(leeway - 20))).expires == exp + leeway
    exp = soon(60)
    assert verifier.verify(signed(exp=exp, nbf=soon(-10), iat=soon(-10))).expires == exp + leeway


@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
@pytest.mark.parametrize("wrong", ["", "soon", [], {}, math.nan, math.inf, -math.inf, "9" * 5000])
def test_times_that_are_none(name: str, wrong: Any) -> None:
    assert refusal(sign_in(), signed(**{name: wrong})) == NoAccess.sentence


@pytest.mark.parametrize("digits", [300, 400, 4000])
def test_a_time_beyond_all_times(digits: int) -> None:
    """A stream's end is a sum with it."""
    try:
        expires = sign_in().verify(signed(exp=10**digits)).expires
    except NoAccess:
        expires = math.inf
    assert time.monotonic() + expires - time.time() > time.monotonic()


def test_a_fraction_of_a_second_is_cut_off() -> None:
    exp = soon()
    assert sign_in(jwt_leeway=0).verify(signed(exp=exp + 0.9)).expires == exp


# Audience and issuer


@pytest.mark.parametrize(
    ("audience", "aud", "reason"),
    [
        ((), None, None),
        ((), "", None),
        ((), [], None),
        ((), "tasks", AUDIENCE),
        ((), ["tasks"], AUDIENCE),
        (("tasks",), "tasks", None),
        (("tasks",), ["others", "tasks"], None),
        (("tasks", "more"), "more", None),
        (("tasks", "more"), ["others", "more"], None),
        (("tasks",), None, lacks("aud")),
        (("tasks",), "", lacks("aud")),
        (("tasks",), [], lacks("aud")),
        (("tasks",), "others", AUDIENCE),
        (("tasks",), "task", AUDIENCE),
        (("tasks",), "tasks ", AUDIENCE),
        (("tasks",), ["others"], AUDIENCE),
        (("tasks",), ["tasks", 5], AUDIENCE),
        (("tasks",), {"tasks": 1}, AUDIENCE),
        (("tasks",), 5, AUDIENCE),
        (("tasks",), [["tasks"]], AUDIENCE),
    ],
)
def test_the_audience(audience: tuple[str, ...], aud: Any, reason: str | None) -> None:
    verifier = sign_in(jwt_audience=audience)
    if reason:
        assert refusal(verifier, signed(aud=aud)) == reason
    else:
        assert verifier.verify(signed(aud=aud)).owner == "ann"


@pytest.mark.parametrize(
    ("issuer", "iss", "reason"),
    [
        (None, None, None),
        (None, "https://id.example", None),
        ("https://id.example", "https://id.example", None),
        ("https://id.example", None, lacks("iss")),
        ("https://id.example", "", ISSUER),
        ("https://id.example", "https://id.example/", ISSUER),
        ("https://id.example", "https://id", ISSUER),
        ("https://id.example", ["https://id.example"], ISSUER),
        ("https://id.example", 5, ISSUER),
    ],
)
def test_the_issuer(issuer: str | None, iss: Any, reason: str | None) -> None:
    verifier = sign_in(jwt_issuer=issuer)
    if reason:
        assert refusal(verifier, signed(iss=iss)) == reason
    else:
        assert verifier.verify(signed(iss=iss)).owner == "ann"


def test_only_who_has_a_good_signature_is_told_why() -> None:
    verifier = sign_in(jwt_audience=("tasks",), jwt_issuer="https://id.example")
    for claims in ({"exp": 1}, {"nbf": soon(1000)}, {"aud": "others"}, {"aud": "tasks", "iss": "others"}):
        forged = by_secret({"sub": "ann", "exp": soon(), **claims}, "another secret of 32 bytes or more")
        assert refusal(verifier, forged) == NoAccess.sentence


# The owner


def test_who_has_a_token_and_whose_tasks_it_is_about() -> None:
    ann = sign_in().verify(signed())
    assert (ann.name, ann.owner) == ("ann", "ann")
    verifier = sign_in(jwt_owner_claim="org")
    assert verifier.verify(signed(org="Shop")).owner == "Shop"
    assert verifier.verify(signed(org="Shop")).name == "ann"
    nobody = verifier.verify(signed(sub=None, org="Shop"))
    assert (nobody.name, nobody.owner) == (None, "Shop")
    assert refusal(verifier, signed()) == no_owner("org")
    assert refusal(sign_in(), signed(sub=None)) == no_owner("sub")


TAKEN = [
    "a",
    "a b",
    "x" * 255,
    "é",
    "日本語",
    "auth0|5f7c8ec7c33c6c004bbafe82",
    "%00",
    "'; --",
    "Default",
    "default ",
    "😀",
]
REFUSED: list[Any] = [
    "",
    "\0",
    "a\0",
    "x" * 256,
    "\ud800",
    "a\udfff",
    "a\nb",
    "\t",
    "\u200b",
    "\u202e",
    "\x7f",
    *(5, True, 1.5, [], ["ann"], {}, {"sub": "ann"}),
]


@pytest.mark.parametrize("owner", TAKEN, ids=ascii)
def test_an_owner(owner: str) -> None:
    assert sign_in().verify(signed(sub=owner)).owner == owner
    assert sign_in(jwt_owner_claim="org").verify(signed(org=owner)).owner == owner


@pytest.mark.parametrize("owner", REFUSED, ids=ascii)
def test_what_is_no_owner(owner: Any) -> None:
    # PyJWT looks whether `sub` is a text.
    assert refusal(sign_in(), signed(sub=owner)) in (no_owner("sub"), NoAccess.sentence)
    assert refusal(sign_in(jwt_owner_claim="org"), signed(org=owner)) == no_owner("org")
    assert refusal(sign_in(jwt_owner_claim="org"), signed(sub=owner, org="Shop")) == NoAccess.sentence


def test_nobody_is_the_owner_of_what_was_there_before() -> None:
    assert refusal(sign_in(), signed(sub=OWNER)) == no_jwt_s("sub")
    verifier = sign_in(jwt_owner_claim="org")
    assert refusal(verifier, signed(org=OWNER)) == no_jwt_s("org")
    assert verifier.verify(signed(sub=OWNER, org="Shop")).owner == "Shop"


# What is no token


def test_what_is_no_token() -> None:
    good = signed()
    head, payload, signature = good.split(".")
    deep = b'{"a":' * 20_000
    for text in (
        *("", ".", "..", "...", "x", "a.b.c", "\0", " ", "é.é.é", "\ud800", head, f"{head}.{payload}", f"{good}.x"),
        *(f".{payload}.{signature}", f"{head}..{signature}", f"{good}.", f".{good}", good + good, good + "é"),
        *(good[:-1], good + "A", good + "==", good.replace(".", ":"), good.upper(), " " + good, good.encode().hex()),
        *(
            f"{encoded(part)}.{payload}.{signature}"
            for part in (b"[]", b"5", b"null", b'"x"', b"\xff", b"{}", deep[:999])
        ),
        *(by_secret(part) for part in (b"", b"[]", b"5", b"null", b'"x"', b"\xff", b"{}", b"{", deep[:5000])),
        *(by_secret(b'{"sub": "ann", "exp": %s}' % part) for part in (b"9" * 5000, b"1e999", b"NaN", b"[", b"")),
    ):
        assert refusal(sign_in(), text) in (NoAccess.sentence, lacks("exp")), ascii(text)[:80]


def test_the_longest_token() -> None:
    def of_length(length: int) -> str:
        """Base64 has lengths that nothing has: a longer header then."""
        for header in ("", "x", "xx"):
            for size in range(length * 3 // 4 - 200, length * 3 // 4):
                text = by_secret({"sub": "ann", "exp": soon(), "x": "x" * size}, h=header)
                if len(text) == length:
                    return text
        raise AssertionError

    assert sign_in().verify(of_length(LONGEST)).owner == "ann"
    assert refusal(sign_in(), of_length(LONGEST + 1)) == NoAccess.sentence
    assert refusal(sign_in(), "x" * 1_000_000) == NoAccess.sentence


# What is remembered


def test_a_token_is_verified_once(monkeypatch: pytest.MonkeyPatch) -> None:
    verifier, seen = sign_in(), counted(monkeypatch)
    good = signed()
    first = verifier.verify(good)
    assert verifier.verify(good) == first
    assert verifier.verify(good, waits=False) == first
    assert seen == [good]
    head, _, signature = good.rpartition(".")
    forged = f"{head}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"
    for _ in range(2):
        refusal(verifier, forged)
    assert len(seen) == 3


def test_what_is_remembered_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    verifier, seen = sign_in(jwt_leeway=30), counted(monkeypatch)
    good = signed(exp=soon(1000))
    verifier.verify(good)
    now = time.time()
    with monkeypatch.context() as later:
        later.setattr(time, "time", lambda: now + 1025)
        verifier.verify(good)
        later.setattr(time, "time", lambda: now + 1031)
        assert refusal(verifier, good) == EXPIRED
    assert seen == [good]
    verifier.verify(good)
    assert seen == [good, good]


def test_only_so_many_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED", 3)
    verifier, seen = sign_in(), counted(monkeypatch)
    tokens = [signed(jti=str(number)) for number in range(5)]
    for text in tokens:
        verifier.verify(text)
    for text in tokens[2:]:
        verifier.verify(text)
    assert seen == tokens
    verifier.verify(tokens[0])
    assert seen == [*tokens, tokens[0]]
    assert len(verifier._verified) == 3


class Ring:
    """Keys that are changed by the tests."""

    def __init__(self, **keys: Key) -> None:
        self.generation = 1
        self.keys = keys
        self.meanwhile: Any = None

    def change(self, **keys: Key) -> None:
        self.keys = keys
        self.generation += 1

    def refresh(self, *, waits: bool) -> None:
        """They never grow old."""

    def find(self, name: str | None, *, waits: bool) -> Key:
        found = self.keys.get(name or "")
        if self.meanwhile:
            happens, self.meanwhile = self.meanwhile, None
            happens()
        if found:
            return found
        if not waits:
            raise MustWait
        raise UnknownKey


ONE, TWO = (public_key(pem(key("P-256", number))) for number in (1, 2))


@pytest.fixture
def ring() -> Ring:
    return Ring(one=ONE, two=TWO)


@pytest.fixture
def verifier(ring: Ring, monkeypatch: pytest.MonkeyPatch) -> SignIn:
    monkeypatch.setattr(module, "_keys", lambda _: ring)
    return sign_in()


def test_a_token_is_checked_with_the_key_that_it_names(verifier: SignIn) -> None:
    assert verifier.verify(token(key("P-256", 2), "ES256", kid="two")).owner == "ann"
    for name in ("one", "three", "", None):
        assert refusal(verifier, token(key("P-256", 2), "ES256", kid=name)) == NoAccess.sentence
    with pytest.raises(MustWait):
        verifier.verify(token(key("P-256", 2), "ES256", kid="three"), waits=False)


def test_what_a_removed_key_has_signed_counts_no_longer(
    verifier: SignIn, ring: Ring, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = counted(monkeypatch)
    first, second = (token(key("P-256", number), "ES256", kid=kid) for number, kid in ((1, "one"), (2, "two")))
    for _ in range(2):
        verifier.verify(first)
        verifier.verify(second)
    ring.change(two=TWO)
    refusal(verifier, first)
    verifier.verify(second)
    assert seen == [first, second, second]
    ring.change(one=TWO, two=TWO)
    refusal(verifier, first)


def test_a_key_that_goes_while_a_token_of_its_is_verified(verifier: SignIn, ring: Ring) -> None:
    """Threads are where it happens: another one notices first that the keys have changed."""
    first, second = (token(key("P-256", number), "ES256", kid=kid) for number, kid in ((1, "one"), (2, "two")))

    def change() -> None:
        ring.change(two=TWO)
        verifier.verify(second)

    ring.meanwhile = change
    verifier.verify(first)
    refusal(verifier, first)


def test_the_log_says_why_a_token_without_a_good_signature_is_refused(
    verifier: SignIn, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    for text in (
        token(key("P-256", 3), "ES256", kid="one"),
        token(key("P-384"), "ES384", kid="one"),
        token(key("P-256", 1), "ES256", kid="three"),
        "nonsense",
    ):
        assert refusal(verifier, text) == NoAccess.sentence
    assert [record.getMessage().partition(": ")[2] for record in caplog.records] == [
        "its signature is not that of the key",
        "its algorithm does not go with the key",
        "no key has its kid",
        "it is no JWT that can be read",
    ]


def test_nothing_of_a_token_is_in_what_is_said_of_it() -> None:
    for text in (signed(aud="mine-alone"), signed(exp="mine-alone"), by_secret(b"mine-alone"), "mine-alone"):
        with pytest.raises(NoAccess) as refused:
            sign_in().verify(text)
        assert "mine-alone" not in str(refused.value)
        assert json.dumps(text)[10:30] not in str(refused.value)
        assert refused.value.__cause__ is None
        assert refused.value.__suppress_context__

"""Tokens for development: the service takes each one that is printed, and what it could not take is refused."""

import os
import subprocess
import sys
import time
from typing import Any

import jwt
import pytest

from taskapi.errors import ConfigurationError
from taskapi.places import ROOT
from taskapi.settings import Settings
from taskapi.sign_in import SignIn
from taskapi.token import LIFETIME, make_token
from tests.support.environment import environment_of

SECRET = "a secret of 32 bytes or of some more"


def printed(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """What `make token` runs."""
    command = [sys.executable, "-m", "taskapi.token", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment_of(**environment), capture_output=True, text=True)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"jwt_secret": SECRET * 2},
        {"jwt_audience": ("tasks", "others")},
        {"jwt_issuer": "https://login.example.com/"},
        {"jwt_owner_claim": "email"},
        {"jwt_audience": ("tasks",), "jwt_issuer": "me", "jwt_owner_claim": "https://example.com/owner"},
        {"jwt_leeway": 0},
    ],
)
@pytest.mark.parametrize("sub", ["ann", 'O\'Brien "x" %s é', "--help", "x" * 255, "é" * 255, "Default"])
def test_the_service_takes_it(sub: str, options: dict[str, Any]) -> None:
    settings = Settings(**{"jwt_secret": SECRET, **options})
    caller = SignIn(settings).verify(make_token(settings, sub))
    assert (caller.name, caller.owner) == (sub, sub)
    assert caller.expires == pytest.approx(time.time() + LIFETIME + settings.jwt_leeway, abs=60)


def test_another_service_does_not() -> None:
    token = make_token(Settings(jwt_secret=SECRET, jwt_audience=("tasks",), jwt_issuer="me"), "ann")
    with pytest.raises(jwt.InvalidAudienceError):
        jwt.decode(token, SECRET, ["HS256"], audience="others")
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(token, SECRET[::-1], ["HS256"], audience="tasks")


def test_it_lasts_as_long_as_it_should() -> None:
    settings = Settings(jwt_secret=SECRET)
    assert SignIn(settings).verify(make_token(settings, "ann", 60)).expires <= time.time() + 60 + settings.jwt_leeway


@pytest.mark.parametrize("sub", ["default", "", "an\nn", "\x00", "x" * 256, "\u200b", "\udcff"])
def test_who_gets_none(sub: str) -> None:
    with pytest.raises(ConfigurationError, match="SUB must be 1 to 255 printable characters, and not default"):
        make_token(Settings(jwt_secret=SECRET), sub)


@pytest.mark.parametrize("options", [{}, {"jwt_jwks_url": "https://login.example.com/keys"}])
def test_without_a_secret(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as refused:
        make_token(Settings(**options), "ann")
    assert str(refused.value).startswith("JWT_SECRET is not set. Put a line into the file .env, such as JWT_SECRET=")


# The command


def test_the_command() -> None:
    done = printed("--", "--ann", JWT_SECRET=SECRET, JWT_AUDIENCE="tasks", JWT_ISSUER="me", JWT_OWNER_CLAIM="email")
    assert (done.returncode, done.stderr) == (0, "")
    token, end = done.stdout.split("\n")
    settings = Settings(jwt_secret=SECRET, jwt_audience=("tasks",), jwt_issuer="me", jwt_owner_claim="email")
    assert (SignIn(settings).verify(token).owner, end) == ("--ann", "")


@pytest.mark.parametrize(
    ("sub", "environment", "sentence"),
    [
        ("", {"JWT_SECRET": SECRET}, "SUB must be 1 to 255 printable characters, and not default."),
        ("default", {"JWT_SECRET": SECRET}, "SUB must be 1 to 255 printable characters, and not default."),
        (os.fsdecode(b"\xff"), {"JWT_SECRET": SECRET}, "SUB must be 1 to 255 printable characters"),
        ("ann", {}, "JWT_SECRET is not set. Put a line into the file .env, such as JWT_SECRET="),
        ("ann", {"JWT_SECRET": "too short"}, "JWT_SECRET: its value is not "),
    ],
)
def test_what_it_refuses(sub: str, environment: dict[str, str], sentence: str) -> None:
    done = printed(sub, **environment)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"taskapi: {sentence}")
    assert "Traceback" not in done.stderr
    assert "too short" not in done.stderr

"""Reads settings from the environment and, in development, from a .env file. Explains what is wrong with a value."""

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from dotenv.parser import parse_stream
from environs import Env

from taskapi.errors import ConfigurationError

Value = TypeVar("Value")

SECRETS = {"DATABASE_URL", "API_TOKENS", "JWT_SECRET", "JWT_PUBLIC_KEY", "JWT_JWKS_URL"}
"""The variables whose values no message may show."""

TRUE = {"true", "1", "yes", "on", "t", "y"}
FALSE = {"false", "0", "no", "off", "f", "n"}


def says_production() -> bool:
    """Whether APP_ENV is `production` in the environment itself, for code that runs before the settings are read."""
    return os.environ.get("APP_ENV", "").strip().lower() == "production"


class Environment:
    """The variables of the process and, in development, of the file `ENV_FILE`. The process's variables win.

    Each method takes a variable's name and default. It raises ConfigurationError with a sentence that begins with the
    name and says what is allowed.
    """

    def __init__(self, root: Path) -> None:
        """Read the file. A relative path starts at `root`."""
        self._env = Env()
        self._file = self._env_file(root)
        if self._file:
            self._read(self._file)

    def text(self, name: str, default: str = "") -> str:
        """The value without surrounding white space."""
        return str(self._env.str(name, default)).strip()

    def parsed(self, name: str, default: Value, parse: Callable[[str], Value], what: str) -> Value:
        """The value as parsed by `parse`, which raises ValueError or KeyError if the value is not `what`."""
        return self._checked(name, self.text(name), parse, what) if name in self else default

    def one_of(self, name: str, default: str, allowed: Sequence[str]) -> str:
        """One of `allowed`, in their spelling; the case of the value does not matter."""
        spelled = {word.lower(): word for word in allowed}
        return self.parsed(name, default, lambda text: spelled[text.lower()], f"one of {', '.join(allowed)}")

    def flag(self, name: str, default: bool) -> bool:
        """True or false, from a common word for either."""

        def parse(text: str) -> bool:
            if text.lower() in TRUE | FALSE:
                return text.lower() in TRUE
            raise ValueError

        return self.parsed(name, default, parse, "true or false")

    def whole(self, name: str, default: int, lowest: int, highest: int | None = None) -> int:
        """A whole number from `lowest` to `highest` (None: no limit)."""
        limits = f"of at least {lowest}" if highest is None else f"from {lowest} to {highest}"

        def parse(text: str) -> int:
            number = int(text)
            if number < lowest or (highest is not None and number > highest):
                raise ValueError
            return number

        return self.parsed(name, default, parse, f"a whole number {limits}")

    def seconds(self, name: str, default: float) -> float:
        """A number of seconds above 0."""

        def parse(text: str) -> float:
            number = float(text)
            if not 0 < number < math.inf:
                raise ValueError
            return number

        return self.parsed(name, default, parse, "a number of seconds above 0")

    def listed(
        self, name: str, default: Sequence[Value], parse: Callable[[str], Value], each: str
    ) -> tuple[Value, ...]:
        """The comma-separated parts as parsed by `parse`, which raises ValueError if a part is not `each`."""
        if name not in self:
            return tuple(default)
        words = [word.strip() for word in self.text(name).split(",")]
        return tuple(self._checked(name, word, parse, each) for word in words if word)

    @staticmethod
    def handed_down(name: str) -> str | None:
        """The value from the process that started this one, or None. Never read from a file."""
        return os.environ.get(name)

    def __contains__(self, name: str) -> bool:
        return self._env.str(name, None) is not None

    def _checked(self, name: str, text: str, parse: Callable[[str], Value], what: str) -> Value:
        try:
            return parse(text)
        except (ValueError, KeyError):
            raise ConfigurationError(f"{name}{self._place(name)}: {_shown(name, text)} is not {what}.") from None

    def _place(self, name: str) -> str:
        return f" (in {self._file})" if self._file and name not in os.environ else ""

    def _env_file(self, root: Path) -> Path | None:
        """The file to read, or None."""
        given = os.environ.get("ENV_FILE")
        if says_production():
            if given:
                raise ConfigurationError(
                    "ENV_FILE: no file is read with APP_ENV=production, so that nothing of it counts by accident;"
                    " put the settings into the environment, for instance with systemd's EnvironmentFile= or Docker's"
                    " --env-file."
                )
            return None
        file = root / (".env" if given is None else given)
        if given == "" or (given is None and not file.is_file()):
            return None
        return file

    def _read(self, file: Path) -> None:
        try:
            with file.open(encoding="utf-8") as lines:
                wrong = [binding.original.line for binding in parse_stream(lines) if binding.error]
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise ConfigurationError(f"ENV_FILE: {file} cannot be read: {reason}.") from None
        if wrong:
            raise ConfigurationError(
                f"ENV_FILE: line {wrong[0]} of {file} is not NAME=value; put a value with quotes or spaces in quotes."
            )
        self._env.read_env(file, recurse=False)
        if self.text("APP_ENV", "development").lower() == "production":
            raise ConfigurationError(
                f"APP_ENV (in {file}): the file is for development only; set APP_ENV in the environment itself."
            )


def _shown(name: str, text: str) -> str:
    """The value for a message, unless it may be a secret: people also paste secrets into the wrong variable."""
    if not text:
        return "an empty value"
    return "its value" if name in SECRETS or "@" in text or len(text) > 60 else ascii(text)

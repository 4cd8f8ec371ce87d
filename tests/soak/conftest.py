"""How long the day is, and what it measured."""

import pytest

TABLES = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--short", action="store_true", help="the same day in about a minute, to try it")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    lines = terminalreporter.config.stash.get(TABLES, [])
    if lines:
        terminalreporter.section("a day in ten minutes")
        for line in lines:
            terminalreporter.line(line)


@pytest.fixture
def tables(request: pytest.FixtureRequest) -> list[str]:
    """Lines of Markdown, which are printed at the end of the run."""
    return request.config.stash.setdefault(TABLES, [])


@pytest.fixture
def is_short(request: pytest.FixtureRequest) -> bool:
    """Whether this is the short form."""
    return bool(request.config.getoption("--short"))

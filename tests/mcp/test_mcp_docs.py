"""docs/mcp.md says what is true: its tools are those that there are, and its block for clients works as it stands."""

import json
import re
import sys
from contextlib import closing
from pathlib import Path

import pytest
from mcp.client.stdio import StdioServerParameters, stdio_client

from taskapi.mcp.tools import TOOLS
from taskapi.places import ROOT
from tests.mcp.agent import Agent

PAGE = (ROOT / "docs/mcp.md").read_text()


def test_the_table_has_every_tool_and_every_argument() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|", PAGE.split("## The tools")[1], re.MULTILINE)
    assert [name for name, _ in rows] == list(TOOLS)
    for name, arguments in rows:
        for argument in set(TOOLS[name].arguments.fields) - {"operation_id"}:
            assert f"`{argument}`" in arguments


@pytest.mark.parametrize("page", ["docs/mcp.md", "README.md"])
def test_the_block_for_clients_starts_the_server(page: str, database_url: str, tmp_path: Path) -> None:
    block = re.findall(r"```json\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)[0]
    server = json.loads(block.replace("/path/to/taskapi/.venv/bin/python", sys.executable))["mcpServers"]["taskapi"]
    log = (tmp_path / "log").open("w")
    transport = stdio_client(
        StdioServerParameters(**server, env={"DATABASE_URL": database_url}, cwd=str(tmp_path)), errlog=log
    )
    with log, closing(Agent(transport)) as agent:
        assert agent.create("one")

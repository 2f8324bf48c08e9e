"""Logs in to the MCP server with the official Python SDK, and calls tools that cost money.

    python mcp_account.py <dev.json>

Runs with either generation of the SDK: 1.x is installed beside the other clients, 2.x in a folder
of its own that `PYTHONPATH` names. The URL that a browser would open is printed on a line of its
own; the URL that the browser is sent back to is read from the next line of standard input.
"""

import asyncio
import json
import sys
from contextlib import asynccontextmanager
from decimal import Decimal
from importlib.metadata import version
from urllib.parse import parse_qs, urlsplit

from mcp import ClientSession
from mcp.client.auth import OAuthClientProvider
from mcp.shared.auth import OAuthClientMetadata

SDK = version("mcp")
IS_OLDER = SDK.startswith("1.")


class Storage:
    """What an application keeps of its login."""

    tokens = client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens) -> None:
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client_info) -> None:
        self.client = client_info


async def open_browser(url: str) -> None:
    print("open", url, flush=True)


async def came_back():
    line = await asyncio.to_thread(sys.stdin.readline)
    query = parse_qs(urlsplit(line.strip()).query)
    code, state = query["code"][0], query["state"][0]
    if IS_OLDER:
        return code, state
    from mcp.client.auth import AuthorizationCodeResult

    return AuthorizationCodeResult(code=code, state=state, iss=query["iss"][0])


def login(url: str, storage: Storage) -> OAuthClientProvider:
    metadata = OAuthClientMetadata(
        client_name="Official SDK",
        redirect_uris=["http://127.0.0.1:9/callback"],
        grant_types=["authorization_code", "refresh_token"],
        response_types=["code"],
        token_endpoint_auth_method="none",
    )
    return OAuthClientProvider(url, metadata, storage, open_browser, came_back)


@asynccontextmanager
async def connected(url: str, auth: OAuthClientProvider):
    """A client of the SDK, and the protocol's version that it speaks."""
    if IS_OLDER:
        from mcp.client.streamable_http import streamablehttp_client

        async with streamablehttp_client(url, auth=auth) as (read, write, _):
            async with ClientSession(read, write) as session:
                yield session, (await session.initialize()).protocolVersion
    else:
        from mcp import Client
        from mcp.client.streamable_http import streamable_http_client
        import httpx2

        async with httpx2.AsyncClient(auth=auth, follow_redirects=True) as http:
            transport = streamable_http_client(url, http_client=http)
            async with Client(transport) as client:
                yield client, client.protocol_version


def structured(result) -> dict:
    content = getattr(result, "structured_content", None)
    return content if content is not None else result.structuredContent


async def check(dev: dict) -> dict:
    url, storage = f"{dev['url']}/mcp", Storage()
    async with connected(url, login(url, storage)) as (client, protocol):
        tools = [tool.name for tool in (await client.list_tools()).tools]
        model = structured(await client.call_tool("list_models", {}))["models"][0]["id"]
        answer = structured(await client.call_tool("chat", {"model": model, "prompt": "Hello there"}))
        preview = structured(await client.call_tool("pii_preview", {"text": "Mail jane@example.com"}))
        balance = structured(await client.call_tool("get_balance", {}))
    found = {
        "chat": "Hello" in answer["text"],
        "preview": preview["redactedText"] == "Mail <EMAIL_ADDRESS>",
        "spent": Decimal(balance["spentUsd"]) == Decimal(answer["costUsd"]) + Decimal(preview["costUsd"]),
        "refresh token": bool(storage.tokens.refresh_token),
    }
    problems = [name for name, is_good in found.items() if not is_good]
    return {"protocol": protocol, "tools": tools, "balance": balance, "problems": problems}


def main() -> int:
    with open(sys.argv[1], encoding="utf-8") as file:
        dev = json.load(file)
    line = asyncio.run(check(dev))
    ok = not line["problems"]
    print(json.dumps({"script": "mcp_account", "sdk": SDK, "ok": ok, **line}))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())

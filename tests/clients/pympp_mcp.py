"""Pays tools by the call with pympp on top of the official Python SDK, and checks the chain.

    python pympp_mcp.py <dev.json>

pympp looks for payments where the protocol before 2026-07-28 has them: in a JSON-RPC error.
"""

import asyncio
import json
import sys

from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client
from mpp.extensions.mcp import McpClient
from mpp.methods.tempo import TempoAccount
from mpp.methods.tempo import client as tempo
from pympp_pay import Chain

CALLS = [
    ("pii_preview", {"text": "Mail jane@example.com"}),
    ("chat", {"model": None, "prompt": "Hello there", "maxTokens": 20}),
]


async def pay(dev: dict, account: TempoAccount, chain: Chain) -> dict:
    charge = tempo.charge(
        account=account,
        rpc_url=dev["rpcUrl"],
        chain_id=dev["chainId"],
        currency=dev["currency"],
        expected_recipients=[dev["recipient"]],
    )
    paid, problems = {}, []
    async with streamablehttp_client(f"{dev['url']}/mpp/mcp") as (read, write, _):
        async with ClientSession(read, write) as session:
            await session.initialize()
            client = McpClient(session, methods=[charge])
            models = (await client.call_tool("list_models", {})).structuredContent["models"]
            for name, arguments in CALLS:
                if "model" in arguments:
                    arguments = {**arguments, "model": models[0]["id"]}
                before = chain.balances()
                result = await client.call_tool(name, arguments)
                gained = chain.balances()["recipient"] - before["recipient"]
                answer = result.structuredContent
                price = round(float(answer.get("paidUsd", answer["costUsd"])) * 1_000_000)
                if not result.receipt or result.receipt.status != "success":
                    problems.append(f"{name}: no receipt")
                if gained != price or price <= 0:
                    problems.append(f"{name}: ${price / 1e6} is asked, {gained} came")
                paid[name] = {"answer": answer, "gained": gained}
    if paid["pii_preview"]["answer"]["redactedText"] != "Mail <EMAIL_ADDRESS>":
        problems.append("not what was bought")
    if "Hello" not in paid["chat"]["answer"]["text"]:
        problems.append("no answer of the model")
    if paid["chat"]["answer"]["wallet"] != account.address.lower():
        problems.append("the rest is somebody else's")
    return {"paid": paid, "problems": problems}


def main() -> int:
    with open(sys.argv[1], encoding="utf-8") as file:
        dev = json.load(file)
    account = TempoAccount.from_key(dev["agentPrivateKey"])
    line = asyncio.run(pay(dev, account, Chain(dev, account.address)))
    ok = not line["problems"]
    print(json.dumps({"script": "pympp_mcp", "ok": ok, **line}))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())

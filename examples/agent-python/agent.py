"""An agent without an account: pays for previews, and for one of them the server pays the network fee.

    python agent.py [dev.json]
"""

import asyncio
import json
import sys

from mpp import Receipt
from mpp.client import Mpp
from mpp.methods.tempo import TempoAccount
from mpp.methods.tempo import client as tempo

# What `farebox dev` writes for clients: where the server and the chain are, and a funded key.
path = sys.argv[1] if len(sys.argv) > 1 else "../../.farebox/dev.json"
with open(path, encoding="utf-8") as file:
    dev = json.load(file)

# One transfer of this token on this chain, to this recipient, of 10 cents at the most: other challenges are not paid.
charge = tempo.charge(
    account=TempoAccount.from_key(dev["agentPrivateKey"]),
    rpc_url=dev["rpcUrl"],
    chain_id=dev["chainId"],
    currency=dev["currency"],
    expected_recipients=[dev["recipient"]],
    max_atomic_amount=100_000,
)


async def main() -> None:
    async with Mpp(methods=[charge], allowed_origins=[dev["url"]]) as mpp:
        for route in ("/mpp/pii/preview", "/mpp/pii/preview?feePayer=true"):
            # Sends the request, gets 402 with a challenge, signs a transfer, and sends the request with it.
            answer = await mpp.fetch(dev["url"] + route, method="POST", json={"text": "Mail jane@example.com"})
            if answer.status_code != 200:
                raise SystemExit(f"{answer.status_code} {answer.text}")
            print("redacted:", answer.json()["redactedText"])
            print("receipt: ", Receipt.from_payment_receipt(answer.headers["payment-receipt"]).reference)


asyncio.run(main())

"""Pays one request with the pympp client and checks the outcome on the chain.

    python pympp_pay.py <dev.json> <pull|sponsored> [[METHOD ]PATH]

`sponsored` needs a route whose challenge says `feePayer`. There is no `push`: pympp only signs
transactions for the server to send.
"""

import asyncio
import json
import sys

import httpx
from eth_hash.auto import keccak
from mpp import BodyDigest, Receipt
from mpp.client import Mpp
from mpp.methods.tempo import TempoAccount
from mpp.methods.tempo import client as tempo

TRANSFER_WITH_MEMO = "0x" + keccak(b"TransferWithMemo(address,address,uint256,bytes32)").hex()
BODY = json.dumps({"text": "Mail jane@example.com"}).encode()


class Chain:
    """The few reads that the checks need, by JSON-RPC."""

    def __init__(self, dev: dict, payer: str) -> None:
        self.dev, self.payer = dev, payer

    def call(self, method: str, *params: object) -> object:
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer = httpx.post(self.dev["rpcUrl"], json=request).raise_for_status().json()
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def balance(self, holder: str) -> int:
        data = "0x70a08231" + word(holder)
        return int(self.call("eth_call", {"to": self.dev["currency"], "data": data}, "latest"), 16)

    def balances(self) -> dict[str, int]:
        return {"payer": self.balance(self.payer), "recipient": self.balance(self.dev["recipient"])}

    def memo_transfers(self, transaction: str) -> list[tuple[int, str]]:
        """Amount and memo of each transfer from payer to recipient in one transaction."""
        receipt = self.call("eth_getTransactionReceipt", transaction)
        return [
            (int(log["data"], 16), log["topics"][3])
            for log in receipt["logs"]
            if log["address"].lower() == self.dev["currency"].lower()
            and log["topics"][0] == TRANSFER_WITH_MEMO
            and log["topics"][1][2:] == word(self.payer)
            and log["topics"][2][2:] == word(self.dev["recipient"])
        ]


def word(address: str) -> str:
    return address.removeprefix("0x").lower().zfill(64)


def attribution_memo(challenge) -> str:
    """The memo that ties a transfer to one challenge, computed from the published layout."""
    server, nonce = keccak(challenge.realm.encode()), keccak(challenge.id.encode())
    return "0x" + (keccak(b"mpp")[:4] + b"\x01" + server[:10] + bytes(10) + nonce[:7]).hex()


async def pay(dev: dict, account: TempoAccount, method: str, path: str):
    """One paid request: its response, and the challenge and credential that were used."""
    charge = tempo.charge(
        account=account,
        rpc_url=dev["rpcUrl"],
        chain_id=dev["chainId"],
        currency=dev["currency"],
        expected_recipients=[dev["recipient"]],
    )
    seen: dict = {}
    async with Mpp(methods=[charge], allowed_origins=[dev["url"]], max_payment_retries=1) as mpp:
        mpp.on_credential_created(seen.update)
        body = {} if method == "GET" else {"content": BODY}
        response = await mpp.fetch(
            dev["url"] + path, method=method, headers={"content-type": "application/json"}, **body
        )
    return response, seen.get("challenge"), seen.get("credential")


def problems(dev, mode, method, chain, before, after, response, challenge, receipt) -> list[str]:
    found: list[str] = []

    def expect(condition: object, problem: str) -> None:
        if not condition:
            found.append(problem)

    expect(challenge, "the server asked for no payment")
    expect(response.status_code == 200, f"status {response.status_code}, not 200")
    cache = response.headers.get("cache-control", "")
    expect("private" in cache, "paid answer is not Cache-Control: private")
    expect(receipt and receipt.status == "success", "no receipt of success")
    if not challenge or not receipt:
        return found

    amount = int(challenge.request["amount"])
    details = challenge.request.get("methodDetails", {})
    sponsored = details.get("feePayer") is True
    expect(amount > 0, "nothing to pay")
    expect(challenge.realm == httpx.URL(dev["url"]).host, f"realm {challenge.realm!r}")
    expect(challenge.credential_header == "Authorization", "challenge asks for another header")
    expect(challenge.expires, "challenge never expires")
    expect(details.get("chainId") == dev["chainId"], "challenge names no chain")
    if method != "GET":
        # RFC 9530 puts the digest between colons, the SDKs of today do not.
        digest = (challenge.digest or "").replace(":", "")
        expect(digest == BodyDigest.compute(BODY), "challenge does not bind the body")
    expect(sponsored == (mode == "sponsored"), "unasked sponsoring" if sponsored else "no sponsor")
    transfers = chain.memo_transfers(receipt.reference)
    expect(transfers == [(amount, attribution_memo(challenge))], f"transfers {transfers}")
    # The payer's own fee, if any, may come from the same token; the recipient may be the sponsor.
    paid = before["payer"] - after["payer"]
    expect(paid == amount if sponsored else paid >= amount, f"payer's balance fell by {paid}")
    gained = after["recipient"] - before["recipient"]
    expect(gained <= amount if sponsored else gained == amount, f"recipient's rose by {gained}")
    return found


def run(dev_path: str, mode: str, target: str) -> dict:
    """Pays, checks, and returns the line to print."""
    *methods, path = target.split(" ")
    method = methods[0] if methods else "POST"
    with open(dev_path, encoding="utf-8") as file:
        dev = json.load(file)
    account = TempoAccount.from_key(dev["agentPrivateKey"])
    chain = Chain(dev, account.address)

    before = chain.balances()
    response, challenge, credential = asyncio.run(pay(dev, account, method, path))
    after = chain.balances()
    header = response.headers.get("payment-receipt")
    receipt = Receipt.from_payment_receipt(header) if header else None
    return {
        "status": response.status_code,
        "receipt": fields_of(receipt),
        "body": response.text,
        "payload": credential.payload["type"] if credential else None,
        "before": before,
        "after": after,
        "problems": problems(
            dev, mode, method, chain, before, after, response, challenge, receipt
        ),
    }


def fields_of(receipt: Receipt | None) -> dict | None:
    if receipt is None:
        return None
    return {name: getattr(receipt, name) for name in ("method", "reference", "status", "timestamp")}


def main() -> int:
    if len(sys.argv) < 3 or sys.argv[2] not in ("pull", "sponsored"):
        print(__doc__, file=sys.stderr)
        return 2
    mode = sys.argv[2]
    try:
        line = run(sys.argv[1], mode, sys.argv[3] if len(sys.argv) > 3 else "/mpp/pii/preview")
    except Exception as error:  # every failure is a line of the report, not a stack trace
        line = {"problems": [f"{type(error).__name__}: {error}"]}
    ok = not line["problems"]
    print(json.dumps({"script": "pympp_pay", "mode": mode, "ok": ok, **line}, default=str))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())

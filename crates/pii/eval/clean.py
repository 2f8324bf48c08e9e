"""Text without anybody's data: what is found here is found wrongly."""

from pathlib import Path
from random import Random

HERE = Path(__file__).parent


def log_lines(rng: Random):
    methods, paths = ["GET", "POST", "PUT", "DELETE"], ["/v1/orders", "/healthz", "/api/items", "/metrics", "/assets/app.js"]
    clock = lambda: f"2024-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}T{rng.randint(0, 23):02}:{rng.randint(0, 59):02}:{rng.randint(0, 59):02}"
    number = lambda count: "".join(str(rng.randint(0, 9)) for _ in range(count))
    kinds = [
        lambda: f"{clock()}.{number(6)}Z INFO request{{id={rng.randbytes(4).hex()} method={rng.choice(methods)} path={rng.choice(paths)}/{number(7)}}} finished in {number(3)}ms status=200",
        lambda: f"{clock()} WARN pool: {number(2)} of {number(3)} connections in use, waited {number(4)}us, epoch {number(10)}",
        lambda: f"[{number(10)}.{number(6)}] kernel: pci 0000:00:1{number(1)}.0: BAR {number(1)}: assigned [mem 0x{rng.randbytes(4).hex()}-0x{rng.randbytes(4).hex()}]",
        lambda: f"commit {rng.randbytes(20).hex()}\n    Merge pull request #{number(4)}",
        lambda: f"trace {rng.randbytes(16).hex()} span {rng.randbytes(8).hex()} took {number(2)}.{number(9)}s",
        lambda: f"GC pause {number(2)}.{number(3)}ms heap {number(10)}->{number(9)} ({number(11)})",
        lambda: f"Compiling serde v1.0.{number(3)} (https_registry) [{number(3)}/{number(3)}] {number(12)} bytes",
        lambda: f"checksum sha256:{rng.randbytes(32).hex()} size={number(9)} mtime={number(13)}",
        lambda: f"ERROR at src/main.rs:{number(3)}:{number(2)}: thread 'worker-{number(2)}' exceeded {number(5)} steps, seed {number(19)}",
        lambda: f"{number(3)} {number(3)} {number(4)} {number(3)} {number(3)} {number(4)}",
    ]
    for _ in range(40):
        yield "\n".join(rng.choice(kinds)() for _ in range(6))


def orders(rng: Random):
    number = lambda count: "".join(str(rng.randint(0, 9)) for _ in range(count))
    letters = lambda count: "".join(rng.choice("ABCDEFGHJKLMNPQRSTUVWXYZ") for _ in range(count))
    kinds = [
        lambda: f"Order {number(10)} shipped today, tracking number 1Z{letters(3)}{number(13)}.",
        lambda: f"Invoice INV-{number(4)}-{number(6)}: {number(2)} x part {letters(2)}{number(7)} at ${number(3)}.{number(2)}.",
        lambda: f"SKU {number(3)}-{number(4)}-{number(3)} is out of stock in warehouse {number(2)}.",
        lambda: f"ISBN 978-{number(1)}-{number(5)}-{number(3)}-{number(1)}, {number(3)} pages, weight {number(3)} g",
        lambda: f"Ticket #{number(9)} was merged into #{number(8)}.",
        lambda: f"The lot {letters(1)}{number(7)} holds {number(3)},{number(3)},{number(3)} units.",
        lambda: f"Reference {number(4)} {number(4)} {number(4)} {number(4)} on the delivery note",
        lambda: f"Case {number(2)}-{number(5)}, docket {number(3)}-{number(2)}-{number(4)}-{number(1)}",
        lambda: f"EAN {number(13)}, batch {letters(2)}-{number(6)}, best before 12/2{number(1)}",
        lambda: f"Policy form {letters(2)}-{number(3)}-{number(2)} replaces {letters(2)}-{number(3)}-{number(2)}, page {number(1)} of {number(2)}.",
        lambda: f"id,qty,price\n{number(8)},{number(2)},{number(3)}.{number(2)}\n{number(8)},{number(2)},{number(3)}.{number(2)}\n{number(8)},{number(2)},{number(3)}.{number(2)}",
        lambda: f"Measured {number(1)}.{number(15)}, expected {number(1)}.{number(12)} with n={number(9)}",
    ]
    for _ in range(150):
        yield rng.choice(kinds)()


def clean_texts(rng: Random):
    """Files by hand, cut at lines of four hyphens; then logs and orders from a frozen seed."""
    for path in sorted((HERE / "clean").iterdir()):
        yield from (part.strip("\n") for part in path.read_text(encoding="utf-8").split("\n----\n"))
    yield from log_lines(rng)
    yield from orders(rng)

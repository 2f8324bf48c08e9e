"""LiteLLM's SDK against the prepaid API: chat whole and streamed, usage, tools, and errors in its own classes.

    python litellm_chat.py <dev.json>
"""

import json
import os
import sys

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm  # noqa: E402 - it reads the environment when it is imported

WORDS = "one two three four"


def main() -> int:
    with open(sys.argv[1], encoding="utf-8") as file:
        dev = json.load(file)
    problems = []

    def expect(condition: bool, problem: str) -> None:
        if not condition:
            problems.append(problem)

    def ask(text: str, key: str = dev["apiKey"], **more):
        messages = [{"role": "user", "content": text}]
        settings = {"api_base": dev["url"] + "/v1", "api_key": key, "num_retries": 0, "max_retries": 0}
        return litellm.completion(model="openai/dev-scripted", messages=messages, **settings, **more)

    whole = ask(WORDS)
    expect(whole.choices[0].message.content == WORDS, f"whole: {whole}")
    expect(whole.usage.completion_tokens == 4, f"usage: {whole.usage}")
    pieces = list(ask(WORDS, stream=True, stream_options={"include_usage": True}))
    text = "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
    expect(text == WORDS, f"streamed: {text}")
    usage = [piece.usage for piece in pieces if getattr(piece, "usage", None)]
    expect(bool(usage) and usage[-1].completion_tokens == 4, f"streamed usage: {usage}")
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
    called = ask('{"tool": true}', tools=[tool]).choices[0].message.tool_calls
    expect(bool(called) and called[0].function.name == "weather", f"tool: {called}")

    def refuses(kind: type, what: str, *arguments, **more) -> None:
        try:
            ask(*arguments, **more)
            problems.append(f"{what} is answered")
        except kind:
            pass
        except Exception as other:  # noqa: BLE001 - the wrong class is what is looked for
            problems.append(f"{what}: {type(other).__name__}: {other}")

    too_long = json.dumps({"status": 400, "error": {"code": "context_length_exceeded", "message": "x"}})
    refuses(litellm.ContextWindowExceededError, "a prompt that is too long", too_long)
    refuses(litellm.AuthenticationError, "a wrong key", WORDS, key="pryv_wrong")
    refuses(litellm.RateLimitError, "a model that is busy", json.dumps({"status": 429}))
    refuses(litellm.BadRequestError, "a wrong parameter", WORDS, max_tokens=0)
    print(json.dumps({"script": "litellm_chat", "ok": not problems, "problems": problems}))
    return 1 if problems else 0


sys.exit(main())

"""LangChain against the prepaid API: chat whole and streamed, usage, tools, errors.

    python langchain_chat.py <dev.json>
"""

import json
import sys

import httpx
import openai
from langchain_openai import ChatOpenAI

WORDS = "one two three four"


def main() -> int:
    with open(sys.argv[1], encoding="utf-8") as file:
        dev = json.load(file)
    problems = []

    def expect(condition: bool, problem: str) -> None:
        if not condition:
            problems.append(problem)

    base, key = dev["url"] + "/v1", dev["apiKey"]
    model = httpx.get(base + "/models", headers={"authorization": f"Bearer {key}"}).json()["data"][0]["id"]
    chat = ChatOpenAI(model=model, api_key=key, base_url=base, max_retries=0, stream_usage=True)
    whole = chat.invoke(WORDS)
    expect(whole.content == WORDS, f"whole: {whole}")
    expect(whole.usage_metadata["output_tokens"] == 4, f"usage: {whole.usage_metadata}")
    pieces = list(chat.stream(WORDS))
    total = pieces[0]
    for piece in pieces[1:]:
        total = total + piece
    expect(total.content == WORDS, f"streamed: {total}")
    expect(total.usage_metadata["output_tokens"] == 4, f"streamed usage: {total.usage_metadata}")
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
    called = chat.bind_tools([tool]).invoke('{"tool": true}')
    expect(called.tool_calls[0]["name"] == "weather", f"tool: {called}")
    error = {"code": "context_length_exceeded", "message": "x"}
    try:
        chat.invoke(json.dumps({"status": 400, "error": error}))
        expect(False, "a prompt that is too long is answered")
    except openai.BadRequestError as refused:
        expect(refused.code == "context_length_exceeded", f"context: {refused}")
    print(json.dumps({"script": "langchain_chat", "ok": not problems, "problems": problems}))
    return 1 if problems else 0


sys.exit(main())

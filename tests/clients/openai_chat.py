"""OpenAI's own Python client against the prepaid API: chat whole and streamed, tools, images, errors, retries.

    python openai_chat.py <dev.json>
"""

import asyncio
import json
import sys

import httpx
import openai

WORDS = "one two three four"
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]


def said(text: str) -> list:
    return [{"role": "user", "content": text}]


def failure(make) -> Exception | None:
    try:
        make()
    except openai.OpenAIError as error:
        return error
    return None


def chats(client: openai.OpenAI, model: str, expect) -> None:
    raw = client.chat.completions.with_raw_response.create(model=model, messages=said(WORDS))
    whole = raw.parse()
    expect(whole.choices[0].message.content == WORDS, f"whole: {whole}")
    expect(whole.usage.completion_tokens == 4, f"usage: {whole.usage}")
    expect(int(raw.headers["x-ratelimit-remaining-requests"]) > 0, "no rate-limit headers")

    stream = client.chat.completions.create(
        model=model, messages=said(WORDS), stream=True, stream_options={"include_usage": True}
    )
    text, usage = "", None
    for chunk in stream:
        text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
        usage = chunk.usage or usage
    expect(text == WORDS, f"streamed: {text}")
    expect(usage is not None and usage.completion_tokens == 4, f"streamed usage: {usage}")

    with client.chat.completions.stream(model=model, messages=said('{"tool": true}'), tools=TOOLS) as events:
        called = events.get_final_completion()
    expect(called.choices[0].message.tool_calls[0].function.name == "weather", f"tool: {called}")

    parts = [{"type": "text", "text": WORDS}, {"type": "image_url", "image_url": {"url": PIXEL}}]
    seen = client.chat.completions.create(model=model, messages=[{"role": "user", "content": parts}])
    expect(seen.choices[0].message.content == WORDS, f"image: {seen}")


def errors(client: openai.OpenAI, model: str, expect) -> None:
    wrong = failure(lambda: client.with_options(api_key="pryv_wrong").models.list())
    expect(isinstance(wrong, openai.AuthenticationError) and wrong.code == "invalid_api_key", f"key: {wrong!r}")
    typo = failure(lambda: client.chat.completions.create(model=model + "x", messages=said(WORDS)))
    expect(isinstance(typo, openai.BadRequestError) and typo.code == "model_not_found", f"model: {typo!r}")
    expect(typo.param == "model", f"model: {typo.param}")

    def cut() -> None:
        script = said('{"chunks": 5, "errorAfter": 2}')
        for _ in client.chat.completions.create(model=model, messages=script, stream=True):
            pass

    broken = failure(cut)
    expect(isinstance(broken, openai.APIError) and broken.code == "upstream_failed", f"broken off: {broken!r}")


def retries(dev: dict, model: str, expect) -> None:
    attempts = []
    hooks = {"request": [lambda request: attempts.append(request.headers["x-stainless-retry-count"])]}
    with openai.OpenAI(
        api_key=dev["apiKey"],
        base_url=dev["url"] + "/v1",
        max_retries=2,
        http_client=httpx.Client(event_hooks=hooks),
    ) as client:
        failed = failure(lambda: client.chat.completions.create(model=model, messages=said('{"status": 503}')))
    expect(isinstance(failed, openai.InternalServerError), f"an upstream that fails: {failed!r}")
    expect(attempts == ["0", "1", "2"], f"attempts: {attempts}")


async def asynchronous(dev: dict, model: str, expect) -> None:
    async with openai.AsyncOpenAI(api_key=dev["apiKey"], base_url=dev["url"] + "/v1") as client:
        many = (client.chat.completions.create(model=model, messages=said(f"number {n}")) for n in range(8))
        answers = await asyncio.gather(*many)
    texts = [answer.choices[0].message.content for answer in answers]
    expect(texts == [f"number {n}" for n in range(8)], f"at once: {texts}")


def main() -> int:
    with open(sys.argv[1], encoding="utf-8") as file:
        dev = json.load(file)
    problems = []

    def expect(condition: bool, problem: str) -> None:
        if not condition:
            problems.append(problem)

    with openai.OpenAI(api_key=dev["apiKey"], base_url=dev["url"] + "/v1", max_retries=0) as client:
        models = [model.id for model in client.models.list()]
        expect(len(models) == 1, f"models: {models}")
        expect(client.models.retrieve(models[0]).id == models[0], "one model")
        chats(client, models[0], expect)
        errors(client, models[0], expect)
    retries(dev, models[0], expect)
    asyncio.run(asynchronous(dev, models[0], expect))
    print(json.dumps({"script": "openai_chat", "ok": not problems, "problems": problems}))
    return 1 if problems else 0


sys.exit(main())

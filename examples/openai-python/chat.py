"""OpenAI's own client against a farebox: only the base URL and the key are other ones.

    python chat.py [dev.json]
"""

import json
import sys

import openai

path = sys.argv[1] if len(sys.argv) > 1 else "../../.farebox/dev.json"
with open(path, encoding="utf-8") as file:
    dev = json.load(file)
client = openai.OpenAI(base_url=dev["url"] + "/v1", api_key=dev["apiKey"])

model = client.models.list().data[0].id
messages = [{"role": "user", "content": "Hello there"}]

answer = client.chat.completions.create(model=model, messages=messages)
print("answer:  ", answer.choices[0].message.content)
print("tokens:  ", answer.usage.total_tokens)

print("streamed: ", end="")
for chunk in client.chat.completions.create(model=model, messages=messages, stream=True):
    print(chunk.choices[0].delta.content or "" if chunk.choices else "", end="")
print()

# Personal data stays here: the model gets a placeholder, the answer has the original again.
protected = client.chat.completions.create(
    model=model,
    messages=[{"role": "user", "content": "Write to jane@example.com"}],
    extra_body={"privacyMode": "placeholder"},
)
print("restored:", protected.choices[0].message.content)

# A failure is an exception with a stable code; 402 says what is missing.
try:
    client.chat.completions.create(model="no-such-model", messages=messages)
except openai.APIStatusError as error:
    print("refused: ", error.status_code, error.code)

// OpenAI's own client against the prepaid API: chat whole and streamed, tools, images, errors, retries.
import { readFileSync } from 'node:fs'
import OpenAI from 'openai'

const dev = JSON.parse(readFileSync(process.argv[2], 'utf8'))
const problems = []
const expect = (condition, problem) => {
  if (!condition) problems.push(problem)
}
const client = (apiKey = dev.apiKey, more = {}) =>
  new OpenAI({ apiKey, baseURL: `${dev.url}/v1`, maxRetries: 0, ...more })
const failure = (promise) => promise.then(() => ({ status: 200 }), (error) => error)

const openai = client()
const models = []
for await (const model of openai.models.list()) models.push(model.id)
expect(models.length === 1, `models: ${models}`)
const [model] = models
const detail = await openai.models.retrieve(model)
expect(detail.object === 'model' && detail.id === model, `model: ${JSON.stringify(detail)}`)

const messages = [{ role: 'user', content: 'one two three four' }]
const { data: whole, response } = await openai.chat.completions.create({ model, messages }).withResponse()
expect(whole.choices[0].message.content === 'one two three four', `whole: ${JSON.stringify(whole)}`)
expect(whole.usage.completion_tokens === 4, `usage: ${JSON.stringify(whole.usage)}`)
expect(Number(response.headers.get('x-ratelimit-remaining-requests')) > 0, 'no rate-limit headers')

let text = ''
let usage
const stream = await openai.chat.completions.create({
  model,
  messages,
  stream: true,
  stream_options: { include_usage: true },
})
for await (const chunk of stream) {
  text += chunk.choices[0]?.delta?.content ?? ''
  usage = chunk.usage ?? usage
}
expect(text === 'one two three four', `streamed: ${text}`)
expect(usage?.completion_tokens === 4, `streamed usage: ${JSON.stringify(usage)}`)

// The helper that most applications use, and a tool call in pieces.
const runner = openai.chat.completions.stream({ model, messages })
expect((await runner.finalContent()) === 'one two three four', 'the stream helper')
const tools = [{ type: 'function', function: { name: 'weather', parameters: { type: 'object', properties: {} } } }]
const script = [{ role: 'user', content: '{"tool": true}' }]
const called = await openai.chat.completions.stream({ model, messages: script, tools }).finalChatCompletion()
expect(called.choices[0].message.tool_calls?.[0]?.function?.name === 'weather', 'the tool call')

const pixel =
  'data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='
const parts = [
  { type: 'text', text: 'one two three four' },
  { type: 'image_url', image_url: { url: pixel } },
]
const seen = await openai.chat.completions.create({ model, messages: [{ role: 'user', content: parts }] })
expect(seen.choices[0].message.content === 'one two three four', `image: ${JSON.stringify(seen)}`)

let attempts = 0
const counted = (...request) => {
  attempts += 1
  return fetch(...request)
}
const failing = client(dev.apiKey, { maxRetries: 2, fetch: counted })
const gone = await failure(
  failing.chat.completions.create({ model, messages: [{ role: 'user', content: '{"status": 503}' }] }),
)
expect(gone instanceof OpenAI.InternalServerError, `an upstream that fails: ${gone}`)
expect(attempts === 3, `attempts: ${attempts}`)

const wrong = await failure(client('pryv_wrong').models.list())
expect(wrong instanceof OpenAI.AuthenticationError, `wrong key: ${wrong}`)
expect(wrong.code === 'invalid_api_key', `wrong key: ${wrong.code}`)
const typo = await failure(openai.chat.completions.create({ model: `${model}x`, messages }))
expect(typo instanceof OpenAI.BadRequestError && typo.code === 'model_not_found', `typing error: ${typo}`)
expect(typo.param === 'model', `typing error: ${typo.param}`)
const nothing = await failure(openai.embeddings.create({ model, input: 'x' }))
expect(nothing instanceof OpenAI.NotFoundError, `not offered: ${nothing}`)
const broken = [{ role: 'user', content: '{"chunks": 5, "errorAfter": 2}' }]
const cut = await failure(
  (async () => {
    for await (const _ of await openai.chat.completions.create({ model, messages: broken, stream: true })) void _
  })(),
)
expect(cut instanceof OpenAI.APIError && cut.code === 'upstream_failed', `broken off: ${cut} ${cut.code}`)

console.log(JSON.stringify({ script: 'openai_chat', ok: problems.length === 0, problems }))
process.exitCode = problems.length === 0 ? 0 : 1

// A double of Ollama 0.12: the routes of its OpenAI-compatible API, with answers of the same shape.
//
//   node ollama_double.mjs            prints the port that it took
//
// It repeats the last message, a word in a chunk, as `ollama serve` streams.
import { createServer } from 'node:http'

const words = (text) => text.split(/(?<= )/)

async function read(request) {
  const parts = []
  for await (const part of request) parts.push(part)
  return JSON.parse(Buffer.concat(parts).toString() || '{}')
}

function usage(messages, answer) {
  const prompt_tokens = words(messages.map(({ content }) => content).join(' ')).length
  const completion_tokens = words(answer).length
  return { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens }
}

async function chat(request, response) {
  const { model, messages, stream, stream_options } = await read(request)
  const answer = messages.at(-1).content
  const head = { id: 'chatcmpl-417', created: Math.floor(Date.now() / 1000), model, system_fingerprint: 'fp_ollama' }
  if (!stream) {
    const message = { role: 'assistant', content: answer }
    const choices = [{ index: 0, message, finish_reason: 'stop' }]
    return json(response, { ...head, object: 'chat.completion', choices, usage: usage(messages, answer) })
  }
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  const send = (rest) => {
    response.write(`data: ${JSON.stringify({ ...head, object: 'chat.completion.chunk', ...rest })}\n\n`)
  }
  for (const content of words(answer))
    send({ choices: [{ index: 0, delta: { role: 'assistant', content }, finish_reason: null }] })
  send({ choices: [{ index: 0, delta: { role: 'assistant', content: '' }, finish_reason: 'stop' }] })
  if (stream_options?.include_usage) send({ choices: [], usage: usage(messages, answer) })
  response.end('data: [DONE]\n\n')
}

function json(response, body) {
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

/** What `ollama pull` has brought. */
const pulled = { id: 'llama3.2:1b', object: 'model', created: 1759000000, owned_by: 'library' }

const routes = {
  'GET /': (_, response) => response.end('Ollama is running'),
  'GET /api/version': (_, response) => json(response, { version: '0.12.6' }),
  'GET /v1/models': (_, response) => json(response, { object: 'list', data: [pulled] }),
  'POST /v1/chat/completions': chat,
}

const server = createServer((request, response) => {
  const route = routes[`${request.method} ${request.url}`]
  if (!route) return response.writeHead(404).end('404 page not found')
  Promise.resolve(route(request, response)).catch(() => response.destroy())
})
server.listen(0, '127.0.0.1', () => console.log(server.address().port))

// A scripted stand-in for the models behind coding agents: it speaks OpenAI's Responses API and Anthropic's Messages API
// as far as the agents' own programs need them, calls the tool that it is told to, and repeats the tool's answer.
//
//   node scripted_models.mjs <tool> <arguments as JSON>
//
// Prints its URL. The tool is the one whose name ends with <tool>.
import { createServer } from 'node:http'

const [tool, input] = process.argv.slice(2)

const server = createServer(async (request, response) => {
  let text = ''
  for await (const piece of request) text += piece
  const body = text ? JSON.parse(text) : {}
  if (process.env.SCRIPTED_LOG) console.error(request.method, request.url, text.slice(0, Number(process.env.SCRIPTED_LOG)))
  if (request.url.includes('/responses')) return events(response, responses(body))
  if (request.url.includes('/messages') && !request.url.includes('count_tokens'))
    return body.stream ? events(response, messages(body)) : json(response, message(body))
  if (request.url.includes('count_tokens')) return json(response, { input_tokens: 10 })
  json(response, { object: 'list', data: [], models: [] })
})
server.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`))

function json(response, value) {
  response.setHeader('content-type', 'application/json')
  response.end(JSON.stringify(value))
}

function events(response, list) {
  response.setHeader('content-type', 'text/event-stream')
  for (const event of list) response.write(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`)
  response.end()
}

/** The Responses API: a call of the tool, or its output in words. */
function responses(body) {
  const id = `resp_${Date.now()}`
  const usage = { input_tokens: 1, output_tokens: 1, total_tokens: 2 }
  const output = body.input?.findLast?.((item) => /function_call_output|tool_call_output|mcp_call/.test(item.type))
  const item = output
    ? {
        type: 'message',
        id: 'msg_1',
        role: 'assistant',
        status: 'completed',
        content: [{ type: 'output_text', text: `TOOL SAID ${JSON.stringify(output.output)}`, annotations: [] }],
      }
    : { type: 'function_call', id: 'fc_1', call_id: 'call_1', status: 'completed', arguments: input, ...named(body.tools) }
  const response = { id, object: 'response', status: 'completed', output: [item], usage }
  return [
    { type: 'response.created', response: { ...response, status: 'in_progress', output: [] } },
    { type: 'response.output_item.added', output_index: 0, item },
    { type: 'response.output_item.done', output_index: 0, item },
    { type: 'response.completed', response },
  ]
}

/** The tool's full name, as the agent's program offers it to the model. */
function named(tools) {
  for (const offered of tools ?? []) {
    if (offered.type === 'namespace') {
      const inner = offered.tools?.find((one) => one.name.endsWith(tool))
      if (inner) return { name: inner.name, namespace: offered.name }
    }
    if (offered.name?.endsWith(tool)) return { name: offered.name }
  }
  return { name: tool }
}

function content(body) {
  const results = body.messages.flatMap((turn) => (Array.isArray(turn.content) ? turn.content : []))
  const result = results.findLast((part) => part.type === 'tool_result')
  if (result) return { type: 'text', text: `TOOL SAID ${JSON.stringify(result.content)}` }
  const offered = body.tools?.find((one) => one.name.endsWith(tool))
  if (offered) return { type: 'tool_use', id: 'toolu_1', name: offered.name, input: JSON.parse(input) }
  return { type: 'text', text: 'There is no such tool.' }
}

/** The Messages API, whole. */
function message(body) {
  const part = content(body)
  return {
    id: 'msg_1',
    type: 'message',
    role: 'assistant',
    model: body.model,
    content: [part],
    stop_reason: part.type === 'tool_use' ? 'tool_use' : 'end_turn',
    stop_sequence: null,
    usage: { input_tokens: 1, output_tokens: 1 },
  }
}

/** The Messages API, streamed. */
function messages(body) {
  const whole = message(body)
  const [part] = whole.content
  const start = part.type === 'tool_use' ? { ...part, input: {} } : { ...part, text: '' }
  const delta =
    part.type === 'tool_use'
      ? { type: 'input_json_delta', partial_json: JSON.stringify(part.input) }
      : { type: 'text_delta', text: part.text }
  return [
    { type: 'message_start', message: { ...whole, content: [], stop_reason: null } },
    { type: 'content_block_start', index: 0, content_block: start },
    { type: 'content_block_delta', index: 0, delta },
    { type: 'content_block_stop', index: 0 },
    { type: 'message_delta', delta: { stop_reason: whole.stop_reason, stop_sequence: null }, usage: { output_tokens: 1 } },
    { type: 'message_stop' },
  ]
}

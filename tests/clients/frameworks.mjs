// The AI SDK and LangChain against the prepaid API: chat whole and streamed, usage, tools, errors.
import { readFileSync } from 'node:fs'
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { tool as langchainTool } from '@langchain/core/tools'
import { ChatOpenAI } from '@langchain/openai'
import { generateText, jsonSchema, streamText, tool } from 'ai'

const dev = JSON.parse(readFileSync(process.argv[2], 'utf8'))
const problems = []
const expect = (condition, problem) => {
  if (!condition) problems.push(problem)
}
const words = 'one two three four'
const failure = (promise) => promise.then(() => undefined, (error) => error)
const listed = await fetch(`${dev.url}/v1/models`, { headers: { authorization: `Bearer ${dev.apiKey}` } })
const model = (await listed.json()).data[0].id

const provider = createOpenAICompatible({
  name: 'farebox',
  apiKey: dev.apiKey,
  baseURL: `${dev.url}/v1`,
  includeUsage: true,
})
const whole = await generateText({ model: provider(model), prompt: words })
expect(whole.text === words, `ai whole: ${whole.text}`)
expect(whole.usage.outputTokens === 4, `ai usage: ${JSON.stringify(whole.usage)}`)
const streamed = streamText({ model: provider(model), prompt: words })
let text = ''
for await (const piece of streamed.textStream) text += piece
expect(text === words, `ai streamed: ${text}`)
expect((await streamed.usage).outputTokens === 4, `ai streamed usage: ${JSON.stringify(await streamed.usage)}`)
const parameters = { type: 'object', properties: {} }
const weather = tool({ description: 'the weather', inputSchema: jsonSchema(parameters) })
const called = await generateText({ model: provider(model), prompt: '{"tool": true}', tools: { weather } })
expect(called.toolCalls[0]?.toolName === 'weather', `ai tool: ${JSON.stringify(called.toolCalls)}`)
const busy = await failure(generateText({ model: provider(model), prompt: '{"status": 429}', maxRetries: 0 }))
expect(busy?.statusCode === 429 && busy.isRetryable, `ai busy: ${busy}`)

const chat = (more = {}) =>
  new ChatOpenAI({ model, apiKey: dev.apiKey, maxRetries: 0, configuration: { baseURL: `${dev.url}/v1` }, ...more })
const answer = await chat().invoke(words)
expect(answer.content === words, `langchain whole: ${answer.content}`)
expect(answer.usage_metadata?.output_tokens === 4, `langchain usage: ${JSON.stringify(answer.usage_metadata)}`)
text = ''
let tokens
for await (const piece of await chat({ streamUsage: true }).stream(words)) {
  text += piece.content
  tokens = piece.usage_metadata?.output_tokens ?? tokens
}
expect(text === words && tokens === 4, `langchain streamed: ${text} ${tokens}`)
const lookup = langchainTool(() => '', { name: 'weather', description: 'the weather', schema: parameters })
const bound = await chat().bindTools([lookup]).invoke('{"tool": true}')
expect(bound.tool_calls?.[0]?.name === 'weather', `langchain tool: ${JSON.stringify(bound.tool_calls)}`)
const long = JSON.stringify({ status: 400, error: { code: 'context_length_exceeded', message: 'x' } })
const refused = await failure(chat().invoke(long))
expect(/context.length/i.test(`${refused?.code} ${refused?.message}`), `langchain context: ${refused}`)

console.log(JSON.stringify({ script: 'frameworks', ok: problems.length === 0, problems }))
process.exit(problems.length === 0 ? 0 : 1)

// OpenAI's own client against a farebox: only the base URL and the key are other ones.
//
//   node chat.mjs [dev.json]
import { readFileSync } from 'node:fs'
import OpenAI from 'openai'

const dev = JSON.parse(readFileSync(process.argv[2] ?? '../../.farebox/dev.json', 'utf8'))
const openai = new OpenAI({ baseURL: `${dev.url}/v1`, apiKey: dev.apiKey })

const { data: models } = await openai.models.list()
const model = models[0].id
const messages = [{ role: 'user', content: 'Hello there' }]

const answer = await openai.chat.completions.create({ model, messages })
console.log('answer:  ', answer.choices[0].message.content)
console.log('tokens:  ', answer.usage.total_tokens)

const stream = await openai.chat.completions.create({ model, messages, stream: true })
process.stdout.write('streamed: ')
for await (const chunk of stream) process.stdout.write(chunk.choices[0]?.delta?.content ?? '')
console.log()

// Personal data stays here: the model gets a placeholder, the answer has the original again.
const protectedAnswer = await openai.chat.completions.create({
  model,
  messages: [{ role: 'user', content: 'Write to jane@example.com' }],
  privacyMode: 'placeholder',
})
console.log('restored:', protectedAnswer.choices[0].message.content)

// A failure is an exception with a stable code; 402 says what is missing.
try {
  await openai.chat.completions.create({ model: 'no-such-model', messages })
} catch (error) {
  console.log('refused: ', error.status, error.code)
}

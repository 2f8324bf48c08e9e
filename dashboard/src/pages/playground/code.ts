// The request as code in other languages.
import type { ChatBody } from './conversation'

export const FORMS = [
  ['curl', 'curl'],
  ['js', 'JavaScript'],
  ['python', 'Python'],
] as const
export type Form = (typeof FORMS)[number][0]

/** Quotes for a shell. */
const quote = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`

/** JSON as Python writes it. */
function python(value: unknown, indent = ''): string {
  if (value === true) return 'True'
  if (value === false) return 'False'
  if (value === null || value === undefined) return 'None'
  if (Array.isArray(value)) return `[${value.map((item) => python(item, indent)).join(', ')}]`
  if (typeof value === 'object') {
    return `{${Object.entries(value)
      .map(([name, member]) => `${JSON.stringify(name)}: ${python(member, indent)}`)
      .join(', ')}}`
  }
  return JSON.stringify(value)
}

/** Fields that OpenAI's client for Python does not know. */
const EXTRA = ['privacyMode', 'urls', 'pdfs']

export function asCode(form: Form, api: string, body: ChatBody): string {
  const json = JSON.stringify(body, null, 2)
  if (form === 'curl') return `curl ${api}/v1/chat/completions \\\n  -H "Authorization: Bearer $API_KEY" \\\n  -H "Content-Type: application/json" \\\n  -d ${quote(json)}`
  if (form === 'js') {
    return `// npm install openai
import OpenAI from 'openai'

const client = new OpenAI({ baseURL: '${api}/v1', apiKey: process.env.API_KEY })
const stream = await client.chat.completions.create(${json})
for await (const chunk of stream) process.stdout.write(chunk.choices[0]?.delta.content ?? '')`
  }
  const known = Object.entries(body).filter(([name]) => !EXTRA.includes(name))
  const extra = Object.fromEntries(Object.entries(body).filter(([name]) => EXTRA.includes(name)))
  const lines = known.map(([name, value]) => `    ${name}=${python(value)},`)
  if (Object.keys(extra).length) lines.push(`    extra_body=${python(extra)},`)
  return `# pip install openai
import os
from openai import OpenAI

client = OpenAI(base_url="${api}/v1", api_key=os.environ["API_KEY"])
stream = client.chat.completions.create(
${lines.join('\n')}
)
for chunk in stream:
    if chunk.choices:
        print(chunk.choices[0].delta.content or "", end="")`
}

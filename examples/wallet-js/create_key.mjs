// A wallet makes an API key by signing one line, uses it, looks at its balance, and revokes it. Nothing is paid: the key
// spends the credits that its wallet has.
//
//   node create_key.mjs [dev.json]
import { createHash, randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { privateKeyToAccount } from 'viem/accounts'

const dev = JSON.parse(readFileSync(process.argv[2] ?? '../../.farebox/dev.json', 'utf8'))
const wallet = privateKeyToAccount(dev.agentPrivateKey)

// Canonical JSON (RFC 8785) of plain objects, arrays, texts and whole numbers: names sorted, no blanks.
const canonicalJson = (value) =>
  value === null || typeof value !== 'object'
    ? JSON.stringify(value)
    : Array.isArray(value)
      ? `[${value.map(canonicalJson)}]`
      : `{${Object.keys(value).sort().map((name) => `${JSON.stringify(name)}:${canonicalJson(value[name])}`)}}`
const sha256 = (text) => createHash('sha256').update(text).digest('hex')

// Each message is for one action and one key, at one server and with this very body, and counts once, for five minutes.
async function signed(action, method, path, { keyId = '', ...body } = {}) {
  const message =
    `Pryv API key mgmt | action=${action} | keyId=${keyId} | nonce=${randomUUID()} | ts=${new Date().toISOString()}` +
    ` | host=${new URL(dev.url).host} | body=${sha256(canonicalJson(body))}`
  const signature = await wallet.signMessage({ message })
  const response = await fetch(`${dev.url}/api/v1${path}`, {
    method,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ walletAddress: wallet.address, message, signature, ...body }),
  })
  const answer = await response.json()
  if (!response.ok) throw new Error(`${action}: ${response.status} ${answer.error.code}: ${answer.error.message}`)
  return answer
}

// The key is in this answer and nowhere else: the server keeps its SHA-256.
const created = await signed('create', 'POST', '/keys', { name: 'laptop', limits: { dailyUsd: '1.00' } })
console.log('key:    ', created.id)

const chat = await fetch(`${dev.url}/v1/chat/completions`, {
  method: 'POST',
  headers: { authorization: `Bearer ${created.key}`, 'content-type': 'application/json' },
  body: JSON.stringify({ model: 'dev-scripted', messages: [{ role: 'user', content: 'Hello there' }] }),
})
console.log('answer: ', (await chat.json()).choices[0].message.content)

const balance = await signed('balance', 'POST', '/billing/balance')
console.log('balance:', balance.available, balance.currency)

await signed('revoke', 'DELETE', `/keys/${created.id}`, { keyId: created.id })
console.log('revoked:', created.id)

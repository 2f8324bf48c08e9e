// An agent without an account: pays for one preview, then streams a chat from a payment channel and closes it.
//
//   node agent.mjs [dev.json]
import { readFileSync } from 'node:fs'
import { Receipt } from 'mppx'
import { Mppx, tempo } from 'mppx/client'
import { createClient, http } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import { tempoLocalnet } from 'viem/chains'

// What `farebox dev` writes for clients: where the server and the chain are, and a funded key.
const dev = JSON.parse(readFileSync(process.argv[2] ?? '../../.farebox/dev.json', 'utf8'))

const account = privateKeyToAccount(dev.agentPrivateKey)
const chain = { ...tempoLocalnet, id: dev.chainId, rpcUrls: { default: { http: [dev.rpcUrl] } } }
const client = createClient({ account, chain, transport: http(dev.rpcUrl) })
const wallet = { account, client, getClient: () => client }

const post = (body) => ({
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify(body),
})

// One request, one payment. `fetch` sends it, gets 402 with a challenge, signs a transfer of exactly what the challenge
// asks for, and sends the same request again with the credential.
const mppx = Mppx.create({
  polyfill: false,
  methods: [tempo.charge({ ...wallet, expectedChainId: dev.chainId, expectedRecipients: [dev.recipient] })],
})
const preview = await mppx.fetch(`${dev.url}/mpp/pii/preview`, post({ text: 'Mail jane@example.com' }))
if (!preview.ok) throw new Error(`${preview.status} ${await preview.text()}`)
console.log('redacted:', (await preview.json()).redactedText)
console.log('receipt: ', Receipt.deserialize(preview.headers.get('payment-receipt')).reference)

// A stream, paid chunk by chunk: the manager opens a channel with the first request and signs a voucher whenever the
// stream asks for one. A channel is for many requests; close it to get the rest of the deposit back.
const session = tempo.session.manager({ ...wallet, maxDeposit: '1' })
const question = { model: 'dev-scripted', stream: true, messages: [{ role: 'user', content: 'Count to three.' }] }
const events = await session.sse(`${dev.url}/mpp/chat/completions`, {
  ...post(question),
  onReceipt: (receipt) => console.log('\nspent:   ', receipt.spent, 'millionths of a dollar'),
})
process.stdout.write('answer:   ')
for await (const data of events) {
  if (data === '[DONE]') continue
  const chunk = JSON.parse(data)
  if (chunk.error) throw new Error(chunk.error.message)
  process.stdout.write(chunk.choices[0]?.delta?.content ?? '')
}
const closed = await session.close()
console.log('closed:  ', closed?.txHash)

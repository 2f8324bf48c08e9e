// An agent with nothing but a wallet buys an API key with mppx, spends its credits on chat until none
// are left, pays the challenge of the 402 that says so, and the same request goes through.
//
//   node mppx_key.mjs <dev.json>
//
// The key stays in `Authorization`; where the credential goes, mppx reads from the challenge.
import { Challenge, Credential, Receipt } from 'mppx'
import { Mppx, tempo } from 'mppx/client'
import { attributionMemo, balances, connect, judge, memoTransfers, readDev } from './lib.mjs'

const dev = readDev(process.argv[2])
const wallet = connect(dev)

/** Every request that left, whoever sent it. */
const sent = []
const watched = async (...request) => {
  const response = await fetch(...request)
  sent.push({ headers: new Request(...request).headers, status: response.status })
  return response
}
const mppx = Mppx.create({
  polyfill: false,
  fetch: watched,
  methods: [tempo.charge({ ...wallet, expectedChainId: dev.chainId, expectedRecipients: [dev.recipient] })],
})
const paid = []
mppx.onCredentialCreated(({ challenge, credential }) => {
  paid.push({ challenge, payload: Credential.deserialize(credential).payload })
})

const json = (body, headers = {}) => ({
  method: 'POST',
  headers: { 'content-type': 'application/json', ...headers },
  body: JSON.stringify(body),
})
const chat = (apiKey, more = {}) => {
  const messages = [{ role: 'user', content: '{"chunks": 4000}' }]
  const body = { model: 'dev-scripted', messages, max_tokens: 4000, ...more }
  return [`${dev.url}/v1/chat/completions`, json(body, { authorization: `Bearer ${apiKey}` })]
}
const receiptOf = (response) => {
  const header = response.headers.get('payment-receipt')
  return header ? Receipt.deserialize(header) : null
}

await judge('mppx_key', 'key', async (expect) => {
  const before = await balances(wallet, dev)

  const bought = await mppx.fetch(`${dev.url}/mpp/keys`, json({ packId: 'starter', name: 'agent' }))
  const sold = await bought.json()
  expect(bought.status === 200, `the purchase: ${bought.status} ${JSON.stringify(sold)}`)
  expect(sold.key?.startsWith(sold.prefix), 'no key in the answer')
  expect(sold.wallet.toLowerCase() === wallet.account.address.toLowerCase(), `owned by ${sold.wallet}`)

  // The key spends its wallet's account, so what `farebox dev` gave that wallet is used up as well.
  let spent = 0
  let dry
  while (!dry && spent < 200) {
    const answer = await fetch(...chat(sold.key))
    if (answer.status === 200) {
      const { usage } = await answer.json()
      expect(usage.completion_tokens > 0, 'an empty answer')
      spent += 1
    } else dry = answer
  }
  const refusal = await dry.json()
  expect(dry.status === 402, `in the end: ${dry.status} ${JSON.stringify(refusal)}`)
  expect(refusal.error?.code === 'insufficient_credits', `code ${refusal.error?.code}`)
  const offered = Challenge.fromResponse(dry)
  expect(Challenge.credentialHeader(offered) === 'Payment-Authorization', 'the challenge names no header')

  sent.length = 0
  const [url, request] = chat(sold.key)
  const through = await mppx.fetch(url, request)
  const answer = await through.json()
  expect(through.status === 200, `after paying: ${through.status} ${JSON.stringify(answer)}`)
  expect(answer.usage?.completion_tokens === 4000, `answered ${JSON.stringify(answer.usage)}`)
  expect(sent.length === 2 && sent[0].status === 402, `sent ${sent.map(({ status }) => status)}`)
  const { headers } = sent.at(-1)
  expect(headers.get('authorization') === `Bearer ${sold.key}`, 'the key was not sent with the payment')
  expect(headers.get('payment-authorization')?.startsWith('Payment '), 'no credential beside the key')

  const [purchase, topUp] = paid
  expect(paid.length === 2, `paid ${paid.length} times`)
  const receipt = receiptOf(through)
  expect(receipt?.status === 'success', 'no receipt')
  const transfers = receipt ? await memoTransfers(wallet, dev, receipt.reference) : []
  expect(transfers.length === 1, `${transfers.length} transfers`)
  expect(transfers[0]?.amount === BigInt(topUp.challenge.request.amount), 'another amount was transferred')
  expect(transfers[0]?.memo === attributionMemo(topUp.challenge), 'memo is not bound to the challenge')

  // What was paid in is there to spend: no more payments.
  const stream = await mppx.fetch(...chat(sold.key, { stream: true }))
  const text = await stream.text()
  expect(stream.status === 200 && text.trimEnd().endsWith('data: [DONE]'), `the stream: ${stream.status}`)
  expect(paid.length === 2, 'paid again while credits were left')

  const after = await balances(wallet, dev)
  const amount = (payment) => BigInt(payment.challenge.request.amount)
  const total = amount(purchase) + amount(topUp)
  const gained = after.recipient - before.recipient
  expect(gained === total, `the recipient gained ${gained}, not ${total}`)
  return { id: sold.id, answers: spent, asked: refusal.error?.message, receipt }
})

// Runs one paid chat session with the mppx client and checks it to the unit on the chain.
//
//   node mppx_session.mjs <dev.json> <stream|two-requests|topup|close|resume|sponsored> [MODEL] [PROMPT]
//
// `close` asks for a plain JSON answer instead of a stream, `topup` opens with the smallest deposit,
// `resume` forgets everything but its key between two requests, `sponsored` needs a server that
// pays the fees. Every flow ends with a cooperative close.
import { tempo } from 'mppx/client'
import { channelHistory, checkHistory } from './channel.mjs'
import { balances, connect, judge, readDev } from './lib.mjs'
import { recordingFetch, sessionChallenge } from './record.mjs'

const FLOWS = {
  stream: async (chat) => [await chat.stream(chat.manager())],
  'two-requests': async (chat) => {
    const manager = chat.manager()
    return [await chat.stream(manager), await chat.stream(manager)]
  },
  topup: async (chat) => {
    const price = BigInt((await chat.challenge()).request.amount)
    const manager = chat.manager({
      credentialContext: { depositRaw: `${price}` },
      topUpAmount: units(price * 8n),
    })
    const requests = [await chat.stream(manager), await chat.stream(manager)]
    await manager.topUp(price * 3n)
    return requests
  },
  close: async (chat) => [await chat.answer(chat.manager())],
  resume: async (chat) => {
    const first = await chat.stream(chat.manager())
    const second = await chat.stream(chat.manager({ bootstrap: true }))
    return [first, second]
  },
  sponsored: async (chat) => [await chat.stream(chat.manager())],
}

const [devPath, flow, model = 'dev', prompt = 'Count to twenty.'] = process.argv.slice(2)
if (!devPath || !Object.hasOwn(FLOWS, flow)) {
  console.error(`usage: mppx_session.mjs <dev.json> <${Object.keys(FLOWS).join('|')}> [MODEL] [PROMPT]`)
  process.exit(2)
}

await judge('mppx_session', flow, async (expect) => {
  const dev = readDev(devPath)
  const wallet = connect(dev)
  const chat = chatWith(dev, wallet)
  const before = await balances(wallet, dev)
  const requests = await FLOWS[flow](chat)
  const closing = await chat.close()
  const after = await balances(wallet, dev)
  const history = await channelHistory(wallet, dev, closing.receipt.channelId)

  checkRequests(expect, chat.record, requests, closing)
  checkRecord(expect, dev, chat.record)
  checkHistory(expect, history, { before, after, receipt: closing.receipt })
  const topUps = chat.record.filter(({ action, status }) => action === 'topUp' && status < 300)
  expect(topUps.length === history.topUps.length, `${topUps.length} top-ups became ${history.topUps.length}`)
  if (flow === 'topup') expect(topUps.length > 1, `${topUps.length} top-ups, not two`)
  if (flow === 'sponsored') expect(history.fees.payer === 0n, `payer paid ${history.fees.payer} in fees`)
  return { requests: requests.map(summary), closing, record: chat.record, before, after, history }
})

/** The paid endpoint as one agent uses it: managers come and go, key and URL stay. */
function chatWith(dev, wallet) {
  const url = `${dev.url}/mpp/chat/completions`
  const record = []
  const ask = (stream) => ({
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model, messages: [{ role: 'user', content: prompt }], stream }),
  })
  let last
  return {
    record,
    manager(options) {
      last = tempo.session.manager({ ...wallet, fetch: recordingFetch(record), ...options })
      return last
    },
    async challenge() {
      return sessionChallenge(await fetch(url, ask(true)))
    },
    async stream(manager) {
      const receipts = []
      const events = []
      const messages = await manager.sse(url, { ...ask(true), onReceipt: (it) => receipts.push(it) })
      for await (const data of messages) events.push(data)
      return { events, receipts, price: price(record, receipts.at(-1)), channelId: manager.channelId }
    },
    async answer(manager) {
      const response = await manager.fetch(url, ask(false))
      const body = await response.text()
      if (!response.ok) throw new Error(`status ${response.status}: ${body}`)
      return { events: [body], receipts: [response.receipt], channelId: manager.channelId }
    },
    async close() {
      const cumulative = last.cumulative
      const receipt = await last.close()
      if (!receipt) throw new Error('closing gave no receipt')
      return { receipt, cumulative }
    },
  }
}

/** Deltas, receipts and the end marker of every request agree with each other. */
function checkRequests(expect, record, requests, closing) {
  let spent = 0n
  for (const [index, { events, receipts, price, channelId }] of requests.entries()) {
    const at = `request ${index + 1}`
    const receipt = receipts.at(-1)
    expect(receipt, `${at} has no final receipt`)
    expect(channelId === closing.receipt.channelId, `${at} used channel ${channelId}`)
    expect(!events.some((data) => parse(data)?.error), `${at} failed: ${events.at(-1)}`)
    if (!receipt) continue
    const charged = BigInt(receipt.spent) - spent
    expect(charged > 0n, `${at} was charged ${charged}`)
    expect(BigInt(receipt.spent) <= BigInt(receipt.acceptedCumulative), `${at} spent above its vouchers`)
    if (price !== undefined) {
      const { content, delivered } = count(events)
      expect(events.at(-1) === '[DONE]', `${at} ends with ${events.at(-1)}`)
      expect(BigInt(receipt.units) * price === charged, `${at}: ${receipt.units} units of ${price}, not ${charged}`)
      const answered = receipt.units - promptUnits(record)
      expect(content <= answered, `${at} delivered ${content} chunks for ${answered} units`)
      expect(answered <= delivered, `${at} charged ${answered} units for ${delivered} chunks`)
    }
    spent = BigInt(receipt.spent)
  }
  expect(BigInt(closing.receipt.spent) === spent, `closed at ${closing.receipt.spent}, charged ${spent}`)
}

/** What went over the wire: challenges that can be paid, receipts on every success, no surprises. */
function checkRecord(expect, dev, record) {
  for (const { action, method, body, status, challenge, receipt } of record) {
    const at = action ?? `unpaid ${method}`
    if (action && action !== 'proof') expect(status < 500 && status !== 410, `${at} was answered ${status}`)
    if (status < 300 && action && action !== 'proof') expect(receipt, `${at} was answered without receipt`)
    if (status === 402) expect(challenge, `${at} was answered 402 without a challenge`)
    if (!body && status < 300 && action !== 'voucher') expect(status === 204, `${at} without body was answered ${status}`)
    if (challenge?.intent !== 'session') continue
    const { sessionProtocol, chainId, minVoucherDelta = '0' } = challenge.request.methodDetails
    expect(sessionProtocol === 'v2' && chainId === dev.chainId, 'challenge names no v2 session of this chain')
    expect(BigInt(minVoucherDelta) <= BigInt(challenge.request.amount), 'a request pays less than a voucher must add')
    expect(challenge.request.suggestedDeposit, 'challenge suggests no deposit')
    expect(!challenge.digest, 'session challenge binds a body that vouchers do not have')
    expect(flow !== 'sponsored' || challenge.request.methodDetails.feePayer === true, 'not sponsored')
  }
}

/** Price of one unit: the receipt's own, else the one that the latest session challenge quoted. */
function price(record, receipt) {
  const { challenge } = record.findLast(({ challenge }) => challenge?.intent === 'session')
  return BigInt(receipt?.unitPrice ?? challenge.request.amount)
}

/** Units that the prompt costs, once, as the challenge for it says. */
function promptUnits(record) {
  const units = record.map(({ challenge }) => challenge?.request?.methodDetails?.promptUnits)
  return Number(units.findLast((found) => found !== undefined) ?? 0)
}

/** Chunks that carry text, and all that came before the end marker. */
function count(events) {
  const delivered = events.filter((data) => data !== '[DONE]')
  const content = delivered.filter((data) => parse(data)?.choices?.[0]?.delta?.content)
  return { content: content.length, delivered: delivered.length }
}

function summary({ events, receipts, price, channelId }) {
  return { channelId, price, receipts, ...count(events), text: events.map(text).join('') }
}

function text(data) {
  const choice = parse(data)?.choices?.[0]
  return choice?.delta?.content ?? choice?.message?.content ?? ''
}

function parse(data) {
  try {
    return JSON.parse(data)
  } catch {
    return undefined
  }
}

/** Base units in the decimal form in which the client takes amounts. */
function units(amount) {
  return `${amount / 1_000_000n}.${`${amount % 1_000_000n}`.padStart(6, '0')}`
}

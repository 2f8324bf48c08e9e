// Pays one request with the mppx client and checks the outcome on the chain.
//
//   node mppx_pay.mjs <dev.json> <pull|push|sponsored|proof> [[METHOD ]PATH]
//
// `sponsored` needs a route whose challenge says `feePayer`, `proof` one whose price is zero.
import { BodyDigest, Challenge, Credential, Receipt } from 'mppx'
import { Mppx, tempo } from 'mppx/client'
import { attributionMemo, balances, connect, judge, memoTransfers, readDev } from './lib.mjs'

const PAYLOAD = { pull: 'transaction', push: 'hash', sponsored: 'transaction', proof: 'proof' }

const [devPath, mode, target = '/mpp/pii/preview'] = process.argv.slice(2)
if (!devPath || !(mode in PAYLOAD)) {
  console.error('usage: mppx_pay.mjs <dev.json> <pull|push|sponsored|proof> [[METHOD ]PATH]')
  process.exit(2)
}
const [path, method = 'POST'] = target.split(' ').reverse()
const body =
  method === 'GET' || method === 'HEAD' ? undefined : JSON.stringify({ text: 'Mail jane@example.com' })

await judge('mppx_pay', mode, async (expect) => {
  const dev = readDev(devPath)
  const wallet = connect(dev)
  const before = await balances(wallet, dev)
  const { response, challenge, credential } = await pay(dev, wallet)
  const text = await response.text()
  const after = await balances(wallet, dev)
  const header = response.headers.get('payment-receipt')
  const receipt = header ? Receipt.deserialize(header) : null

  expect(challenge, 'the server asked for no payment')
  expect(response.status === 200, `status ${response.status}, not 200`)
  expect(response.headers.get('cache-control')?.includes('private'), 'paid answer is not private')
  expect(receipt?.method === 'tempo', 'no receipt')
  expect(credential?.payload.type === PAYLOAD[mode], `sent a ${credential?.payload.type} credential`)
  if (challenge && receipt) {
    checkChallenge(expect, dev, challenge)
    if (mode === 'proof') checkProof(expect, challenge, receipt, before, after)
    else {
      checkMoney(expect, challenge, before, after)
      const transfers = await memoTransfers(wallet, dev, receipt.reference)
      checkTransfers(expect, challenge, transfers)
    }
  }
  return { status: response.status, receipt, body: parse(text), challenge, before, after }
})

/** One paid request, with the challenge that was answered and the credential that answered it. */
async function pay(dev, wallet) {
  const mppx = Mppx.create({
    polyfill: false,
    maxPaymentRetries: 1,
    methods: [
      tempo.charge({
        ...wallet,
        expectedChainId: dev.chainId,
        expectedRecipients: [dev.recipient],
        mode: mode === 'push' ? 'push' : 'pull',
      }),
    ],
  })
  let challenge
  let credential
  mppx.onCredentialCreated((event) => {
    challenge = event.challenge
    credential = Credential.deserialize(event.credential)
  })
  const response = await mppx.fetch(`${dev.url}${path}`, {
    method,
    ...(body && { headers: { 'content-type': 'application/json' }, body }),
  })
  return { response, challenge, credential }
}

function checkChallenge(expect, dev, challenge) {
  expect(challenge.realm === new URL(dev.url).hostname, `realm "${challenge.realm}"`)
  expect(challenge.expires, 'challenge never expires')
  expect(Challenge.credentialHeader(challenge) === 'Authorization', 'challenge names another header')
  expect(challenge.request.methodDetails?.chainId === dev.chainId, 'challenge names no chain')
  // RFC 9530 puts the digest between colons, the SDKs of today do not.
  const digest = challenge.digest?.replaceAll(':', '')
  if (body) expect(digest === BodyDigest.compute(body), 'challenge does not bind the body')
}

function checkProof(expect, challenge, receipt, before, after) {
  expect(challenge.request.amount === '0', `a proof route that costs ${challenge.request.amount}`)
  expect(receipt.reference === challenge.id, 'receipt does not refer to the challenge')
  expect(after.payer === before.payer, 'a proof moved money')
}

/** The payer's own fee may come from the same token; a sponsoring recipient pays one from his gain. */
function checkMoney(expect, challenge, before, after) {
  const amount = BigInt(challenge.request.amount)
  const sponsored = challenge.request.methodDetails?.feePayer === true
  expect(amount > 0n, 'nothing to pay')
  expect(sponsored === (mode === 'sponsored'), sponsored ? 'sponsored unasked' : 'not sponsored')
  const paid = before.payer - after.payer
  expect(sponsored ? paid === amount : paid >= amount, `payer's balance fell by ${paid}`)
  const gained = after.recipient - before.recipient
  expect(sponsored ? gained <= amount : gained === amount, `recipient's balance rose by ${gained}`)
}

/** Exactly one transfer of the price, bound to this challenge. */
function checkTransfers(expect, challenge, transfers) {
  expect(transfers.length === 1, `${transfers.length} transfers to the recipient`)
  for (const { amount, memo } of transfers) {
    expect(amount === BigInt(challenge.request.amount), `transfer of ${amount}`)
    expect(memo === attributionMemo(challenge), 'memo is not bound to the challenge')
  }
}

function parse(text) {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

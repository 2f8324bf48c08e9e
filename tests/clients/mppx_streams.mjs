// The meter of mppx under load, for benchmarks: its metered SSE over its store in memory.
//
//   node mppx_streams.mjs <port> <upstream port> <channels> <funds>
//
// The channels stand in the store from the start, each with a voucher for `funds` units, because
// mppx opens channels on a chain only. `x-channel` names the one that pays; credentials are not
// looked at. POST a chat request to any path; it is passed on as it is.
import { createServer } from 'node:http'
import { NodeListener, Store } from 'mppx/server'
import { Session } from 'mppx/tempo'
// The package keeps this one to itself, and only it makes a store of channels.
import * as ChannelStore from './node_modules/mppx/dist/tempo/session/server/ChannelStore.js'

const { Sse } = Session.Server
const [port, upstream, channels, funds] = process.argv.slice(2).map(Number)
if (!funds) {
  console.error('usage: mppx_streams.mjs <port> <upstream port> <channels> <funds>')
  process.exit(2)
}

const address = (byte) => `0x${byte.repeat(20)}`
const store = ChannelStore.fromStore(Store.memory())
for (let n = 0; n < channels; n++) {
  const channelId = `0x${n.toString(16).padStart(64, '0')}`
  const descriptor = {
    payer: address('22'),
    payee: address('33'),
    operator: address('00'),
    token: address('44'),
    salt: channelId,
    authorizedSigner: address('22'),
    expiringNonceHash: channelId,
  }
  await store.updateChannel(channelId, () => ({
    backend: 'precompile',
    ...descriptor,
    descriptor,
    channelId,
    chainId: 1337,
    escrowContract: address('11'),
    closeRequestedAt: 0n,
    createdAt: new Date().toISOString(),
    deposit: BigInt(funds),
    finalized: false,
    highestVoucher: {
      channelId,
      cumulativeAmount: BigInt(funds),
      signature: `0x${'07'.repeat(65)}`,
    },
    highestVoucherAmount: BigInt(funds),
    settledOnChain: 0n,
    spent: 0n,
    units: 0,
  }))
}

async function answer(request, response) {
  const gone = new AbortController()
  response.on('close', () => gone.abort())
  const parts = []
  for await (const part of request) parts.push(part)
  const { signal } = gone
  const chunks = await fetch(`http://127.0.0.1:${upstream}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: Buffer.concat(parts),
    signal,
  })
  const body = Sse.serve({
    store,
    channelId: request.headers['x-channel'],
    challengeId: 'bench',
    tickCost: 1n,
    generate: Sse.iterateData(chunks, { skip: (data) => data === '[DONE]' }),
    signal,
  })
  await NodeListener.sendResponse(response, Sse.toResponse(body))
}

const server = createServer((request, response) => {
  // Every run ends with readers that go away, which shows as an error somewhere.
  answer(request, response).catch(() => response.destroy())
})
server.listen(port, '127.0.0.1', () => console.log(`mppx streams on http://127.0.0.1:${port}`))

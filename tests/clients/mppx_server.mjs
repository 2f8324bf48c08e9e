// A minimal mppx server that sells one charge: the peer in benchmarks, and a second opinion in tests.
//
//   node mppx_server.mjs <port> [dev.json]
//
// Without dev.json it can only answer 402 (what the benchmark measures); with it, it settles
// payments on that chain. POST anything to any path; `/proof` costs nothing.
import { createServer } from 'node:http'
import { Mppx, Request, tempo } from 'mppx/server'
import { connect, readDev } from './lib.mjs'

// A chain that is never asked and a key that never signs.
const UNPAID = {
  rpcUrl: 'http://127.0.0.1:8545',
  chainId: 1337,
  currency: '0x20c0000000000000000000000000000000000000',
  recipient: '0x70997970C51812dc3A010C7d01b50e0d17dc79C8',
  agentPrivateKey: `0x${'11'.repeat(32)}`,
}

const [port, devPath] = process.argv.slice(2)
if (!port) {
  console.error('usage: mppx_server.mjs <port> [dev.json]')
  process.exit(2)
}
const dev = devPath ? readDev(devPath) : UNPAID
const { getClient } = connect(dev)

const mppx = Mppx.create({
  realm: '127.0.0.1',
  secretKey: 'a secret of at least thirty-two bytes',
  methods: [tempo.charge({ getClient, currency: dev.currency, recipient: dev.recipient })],
})

const pay = mppx.charge({ amount: '0.05', chainId: dev.chainId })
const prove = mppx.charge({ amount: '0', chainId: dev.chainId })

const listener = Request.toNodeListener(async (request) => {
  const gate = new URL(request.url).pathname === '/proof' ? prove : pay
  const payment = await gate(request)
  if (payment.status === 402) return payment.challenge
  return payment.withReceipt(Response.json({ entities: [{ type: 'EMAIL', start: 5, end: 21 }] }))
})

createServer(listener).listen(Number(port), '127.0.0.1', () => {
  console.log(`mppx server on http://127.0.0.1:${port}`)
})

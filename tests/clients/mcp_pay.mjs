// Calls the tools of the endpoint without accounts, with an official SDK and mppx's payments on top of it.
//
//   node mcp_pay.mjs <dev.json> <2025|2026>
import { tempo } from 'mppx/client'
import { McpClient } from 'mppx/mcp/client'
import { balances, connect, judge, memoTransfers, readDev } from './lib.mjs'
import { create, ERAS } from './mcp.mjs'

const [devPath, era] = process.argv.slice(2)
if (!devPath || !ERAS.includes(era)) {
  console.error('usage: mcp_pay.mjs <dev.json> <2025|2026>')
  process.exit(2)
}

await judge('mcp_pay', era, async (expect) => {
  const dev = readDev(devPath)
  const wallet = connect(dev)
  const { client, Transport } = create(era)
  await client.connect(new Transport(new URL(`${dev.url}/mpp/mcp`)))
  const asked = []
  McpClient.wrap(client, {
    methods: [tempo.charge({ ...wallet, expectedChainId: dev.chainId, expectedRecipients: [dev.recipient], mode: 'pull' })],
    onPaymentRequired: (challenge) => (asked.push(challenge), true),
  })
  const { tools } = await client.listTools()
  const free = await client.callTool({ name: 'list_models', arguments: {} })
  expect(asked.length === 0, 'a free tool asked for money')
  const before = await balances(wallet, dev)
  const paid = await client.callTool({ name: 'pii_preview', arguments: { text: 'Mail jane@example.com' } })
  const after = await balances(wallet, dev)
  await client.close()
  const price = BigInt(asked[0]?.request.amount ?? 0)
  expect(asked.length === 1, `asked for money ${asked.length} times`)
  expect(paid.structuredContent?.redactedText === 'Mail <EMAIL_ADDRESS>', 'not what was bought')
  expect(paid.receipt?.status === 'success', 'no receipt')
  expect(after.recipient - before.recipient === price && price === 50_000n, 'the chain says another amount')
  if (paid.receipt) {
    const transfers = await memoTransfers(wallet, dev, paid.receipt.reference)
    expect(transfers.length === 1 && transfers[0].amount === price, 'not the transfer that the receipt names')
  }
  return {
    tools: tools.map((tool) => tool.name),
    models: free.structuredContent?.models?.map((model) => model.id),
    receipt: paid.receipt,
  }
})

// Calls a tool that costs money through mcp-remote, as programs do that know servers on standard streams alone. It logs in
// by itself.
//
//   node mcp_remote.mjs <dev.json> <folder for its login> <path of mcp-remote>
//
// The URL that a browser would open is printed on a line of its own.
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js'
import { createInterface } from 'node:readline'
import { judge, readDev } from './lib.mjs'

const [devPath, folder, program] = process.argv.slice(2)
if (!program) {
  console.error('usage: mcp_remote.mjs <dev.json> <folder for its login> <path of mcp-remote>')
  process.exit(2)
}

await judge('mcp_remote', 'stdio', async (expect) => {
  const dev = readDev(devPath)
  const transport = new StdioClientTransport({
    command: process.execPath,
    args: [program, `${dev.url}/mcp`],
    env: { PATH: process.env.PATH, HOME: folder, MCP_REMOTE_CONFIG_DIR: folder },
    stderr: 'pipe',
  })
  createInterface({ input: transport.stderr }).on('line', (line) => {
    const url = line.match(/http\S*\/oauth\/authorize\S*/)
    if (url) console.log(`open ${url[0]}`)
    else if (process.env.MCP_REMOTE_LOG) console.error(line)
  })
  const client = new Client({ name: 'farebox-test', version: '1.0.0' })
  await client.connect(transport)
  const { tools } = await client.listTools()
  const preview = await client.callTool({ name: 'pii_preview', arguments: { text: 'Mail jane@example.com' } })
  await client.close()
  expect(preview.structuredContent?.redactedText === 'Mail <EMAIL_ADDRESS>', `preview: ${JSON.stringify(preview)}`)
  return { tools: tools.map((tool) => tool.name), costs: [Number(preview.structuredContent?.costUsd)] }
})

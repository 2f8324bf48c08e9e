// A server with two tools of ours on the official SDK, with everything in memory: what the benchmarks compare with. It
// asks for no token, charges nothing and writes nothing down.
//
//   node mcp_peer.mjs
//
// Prints its URL.
import { createServer } from 'node:http'
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js'
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js'
import { z } from 'zod'

const MODELS = [{ id: 'scripted', pricePerMillionInputTokens: '0.00', pricePerMillionOutputTokens: '100.00' }]
const EMAIL = /[\w.+-]+@[\w-]+\.[\w.]+/g

/** Answers as the SDK's own examples have them: the object, and the same as text. */
const answer = (structuredContent) => ({
  structuredContent,
  content: [{ type: 'text', text: JSON.stringify(structuredContent) }],
})

function create() {
  const server = new McpServer({ name: 'peer', version: '1.0.0' })
  server.registerTool('list_models', { inputSchema: {} }, () => answer({ models: MODELS }))
  server.registerTool('pii_preview', { inputSchema: { text: z.string() } }, ({ text }) =>
    answer({ redactedText: text.replace(EMAIL, '<EMAIL_ADDRESS>'), costUsd: '0.00' }),
  )
  return server
}

const listener = createServer(async (request, response) => {
  let text = ''
  for await (const piece of request) text += piece
  // One server for each request is how the SDK serves without sessions.
  const transport = new StreamableHTTPServerTransport({ sessionIdGenerator: undefined, enableJsonResponse: true })
  const server = create()
  response.on('close', () => server.close())
  await server.connect(transport)
  await transport.handleRequest(request, response, text ? JSON.parse(text) : undefined)
})
listener.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${listener.address().port}/mcp`))

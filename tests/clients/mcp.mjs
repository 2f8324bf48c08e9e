// What the MCP client scripts share: both official SDK generations, connected to one endpoint.
import { Client as LaterClient, StreamableHTTPClientTransport as LaterTransport } from '@modelcontextprotocol/client'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'

export const ERAS = ['2025', '2026']

/** A client of the older SDK (2025 revisions), or of the newer one pinned to 2026-07-28. */
export function create(era) {
  const info = { name: 'farebox-test', version: '1.0.0' }
  if (era === '2025') return { client: new Client(info), Transport: StreamableHTTPClientTransport }
  const options = { versionNegotiation: { mode: { pin: '2026-07-28' } } }
  return { client: new LaterClient(info, options), Transport: LaterTransport }
}

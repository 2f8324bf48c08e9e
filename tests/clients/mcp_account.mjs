// Logs in to the MCP server with an official SDK, asks a person to consent, and calls tools that cost money.
//
//   node mcp_account.mjs <dev.json> <2025|2026>
//
// The URL that a browser would open is printed on a line of its own; the URL that the browser is sent back to is read
// from the next line of standard input.
import { createInterface } from 'node:readline'
import { judge, readDev } from './lib.mjs'
import { create, ERAS } from './mcp.mjs'

const [devPath, era] = process.argv.slice(2)
if (!devPath || !ERAS.includes(era)) {
  console.error('usage: mcp_account.mjs <dev.json> <2025|2026>')
  process.exit(2)
}
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()

/** What an application keeps of its login; the browser is whoever reads standard output. */
class Login {
  redirectUrl = 'http://127.0.0.1:9/callback'
  clientMetadata = {
    client_name: 'Official SDK',
    redirect_uris: [this.redirectUrl],
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    token_endpoint_auth_method: 'none',
  }
  clientInformation = () => this.client
  saveClientInformation = (client) => void (this.client = client)
  tokens = () => this.saved
  saveTokens = (tokens) => void (this.saved = tokens)
  saveCodeVerifier = (verifier) => void (this.verifier = verifier)
  codeVerifier = () => this.verifier
  redirectToAuthorization = (url) => console.log(`open ${url}`)
}

await judge('mcp_account', era, async (expect) => {
  const dev = readDev(devPath)
  const login = new Login()
  const url = new URL(`${dev.url}/mcp`)
  const first = create(era)
  const transport = new first.Transport(url, { authProvider: login })
  const refused = await first.client.connect(transport).then(
    () => false,
    (error) => error.constructor.name === 'UnauthorizedError',
  )
  expect(refused, 'connected without a token')
  const back = new URL((await lines.next()).value)
  expect(back.searchParams.get('iss') === dev.url, `iss ${back.searchParams.get('iss')}`)
  await finish(transport, back)
  const { client, Transport } = create(era)
  await client.connect(new Transport(url, { authProvider: login }))
  const { tools } = await client.listTools()
  const model = (await client.callTool({ name: 'list_models', arguments: {} })).structuredContent.models[0].id
  const progress = []
  const answer = await client.callTool({ name: 'chat', arguments: { model, prompt: 'Hello there' } }, undefined, {
    onprogress: (step) => progress.push(step),
  })
  const preview = await client.callTool({ name: 'pii_preview', arguments: { text: 'Mail jane@example.com' } })
  const balance = await client.callTool({ name: 'get_balance', arguments: {} })
  const before = login.saved.refresh_token
  await client.close()
  expect(answer.structuredContent?.text?.includes('Hello'), `chat: ${JSON.stringify(answer)}`)
  expect(preview.structuredContent?.redactedText === 'Mail <EMAIL_ADDRESS>', `preview: ${JSON.stringify(preview)}`)
  expect(Boolean(before), 'no refresh token')
  const costs = [answer, preview].map((result) => Number(result.structuredContent?.costUsd))
  return {
    tools: tools.map((tool) => tool.name),
    costs,
    balance: balance.structuredContent,
  }
})

/** Exchanges the code: the newer SDK takes all parameters, and checks `iss`. */
async function finish(transport, back) {
  if (era === '2025') await transport.finishAuth(back.searchParams.get('code'))
  else await transport.finishAuth(back.searchParams)
}

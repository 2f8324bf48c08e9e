// The person in front of the browser: opens an authorization page, reads the message, signs it with the wallet, and
// prints the URL that the browser would go to.
//
//   node person.mjs <dev.json> <authorization URL>
import { privateKeyToAccount } from 'viem/accounts'
import { readDev } from './lib.mjs'

const [devPath, authorization] = process.argv.slice(2)
const account = privateKeyToAccount(readDev(devPath).agentPrivateKey)
const { origin } = new URL(authorization)
const page = await (await fetch(authorization)).text()
const request = page.match(/name="request" value="([^"]+)"/)?.[1]
if (!request) throw new Error(`the page asks for nothing: ${page}`)
const body = { request, walletAddress: account.address }
const { message } = await post('/oauth/message', body)
const signature = await account.signMessage({ message })
const { redirect } = await post('/oauth/authorize', { ...body, message, signature })
console.log(redirect)

async function post(path, value) {
  const response = await fetch(`${origin}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', origin },
    body: JSON.stringify(value),
  })
  const text = await response.text()
  if (!response.ok) throw new Error(`${path}: ${response.status} ${text}`)
  return JSON.parse(text)
}

// A program logs in at the authorization server, and a person lets it, in a real browser with a wallet that announces itself
// (EIP-6963): with the wallet, with a signature made elsewhere, not at all, and not in a frame.
//
//   node browser_consent.mjs <origin of the server> [folder for screenshots]
//
// The browser is the program that CHROMIUM names, or /usr/bin/chromium.
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { chromium } from 'playwright-core'
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts'
import { judge } from './lib.mjs'

const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

const [origin, pictures] = process.argv.slice(2)
const account = privateKeyToAccount(generatePrivateKey())

// The program's own listener: it takes whichever port is free.
const callbacks = []
const listener = createServer((request, response) => {
  const url = new URL(request.url, 'http://127.0.0.1')
  response.setHeader('content-type', 'text/html')
  if (url.pathname === '/framing') return response.end(`<iframe src="${framed}"></iframe>`)
  if (url.pathname === '/callback') callbacks.push(url.searchParams)
  response.end('<p>Back in the program.</p>')
})
listener.listen(0, '127.0.0.1')
await once(listener, 'listening')
const local = `http://127.0.0.1:${listener.address().port}`
let framed = ''

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  headless: true,
  args: FLAGS,
})
try {
  await judge('browser_consent', 'browser', run)
} finally {
  await browser.close()
  listener.close()
}

/** Posts JSON, or a form, and returns the answer. */
async function post(path, body) {
  const isForm = body instanceof URLSearchParams
  const response = await fetch(`${origin}${path}`, {
    method: 'POST',
    headers: isForm ? {} : { 'content-type': 'application/json' },
    body: isForm ? body : JSON.stringify(body),
  })
  const answer = await response.json()
  if (!response.ok) throw new Error(`${path}: ${response.status} ${JSON.stringify(answer)}`)
  return answer
}

/** A login as a program begins it: the page to open, and what it keeps. */
function begin(clientId) {
  const verifier = randomBytes(32).toString('base64url')
  const state = randomBytes(16).toString('hex')
  const query = new URLSearchParams({
    response_type: 'code',
    client_id: clientId,
    redirect_uri: `${local}/callback`,
    state,
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
    scope: 'chat pii account:read',
  })
  return { url: `${origin}/oauth/authorize?${query}`, verifier, state }
}

async function run(expect) {
  const registered = await post('/oauth/register', {
    client_name: 'Browser test <b>bold</b>',
    redirect_uris: ['http://127.0.0.1/callback'],
  })
  const context = await browser.newContext({ viewport: { width: 480, height: 900 } })
  const page = await context.newPage()
  page.on('pageerror', (error) => expect(false, `an error on a page: ${error.message}`))
  page.on('console', (line) => {
    const isRefusal = line.text().startsWith('Failed to load resource')
    if (line.type() === 'error' && !isRefusal) expect(false, `on the console: ${line.text()}`)
  })
  const signed = []
  await page.exposeFunction('signInNode', async (message) => {
    signed.push(message)
    return account.signMessage({ message })
  })
  const look = (name) => pictures && page.screenshot({ path: join(pictures, `${name}.png`), fullPage: true })

  await signsElsewhere()
  await context.addInitScript(announceWallet, account.address)
  const granted = await allows()
  await saysNo()
  await cannotBeFramed()
  await looksFinishedAtNight()
  return { wallet: account.address, scope: granted.scope }

  /** Returns the parameters of the next call back. */
  async function calledBack(login) {
    await page.waitForURL(`${local}/callback**`)
    const back = callbacks.pop()
    expect(back.get('state') === login.state, `state: ${back}`)
    expect(back.get('iss') === origin, `iss: ${back}`)
    return back
  }

  async function allows() {
    const login = begin(registered.client_id)
    await page.goto(login.url)
    expect((await page.locator('h1').innerText()).includes('<b>bold</b>'), 'the name is text')
    await page.getByRole('checkbox', { name: /account:read/ }).uncheck()
    await page.getByLabel('Dollars a day').fill('2')
    await look('consent')
    await page.getByRole('button', { name: 'Allow with Test wallet' }).click()
    const back = await calledBack(login)
    expect(signed.at(-1).includes('Request ID: ') && signed.at(-1).includes('action=connect'), signed.at(-1))
    const tokens = await exchange(login, back)
    expect(tokens.scope === 'chat pii', `scope: ${tokens.scope}`)
    return tokens
  }

  async function signsElsewhere() {
    const login = begin(registered.client_id)
    await page.goto(login.url)
    expect(await page.getByText('No wallet was found').isVisible(), 'there is no wallet yet')
    await page.getByText('Paste a signature').click()
    await page.getByLabel('Wallet address').fill('0x1')
    await page.getByRole('button', { name: 'Show the message' }).click()
    await page.getByText('walletAddress must be').waitFor()
    await page.getByLabel('Wallet address').fill(account.address)
    await page.getByRole('button', { name: 'Show the message' }).click()
    await page.getByText('Sign this message').waitFor()
    const message = await page.getByLabel('Message, to be signed').inputValue()
    await page.getByLabel('Signature', { exact: true }).fill(`0x${'11'.repeat(65)}`)
    await page.getByRole('button', { name: 'Allow', exact: true }).click()
    await page.getByText('not this wallet').waitFor()
    // The terms are those of the message, whatever the form says now.
    await page.getByLabel('Dollars a day').fill('99')
    await page.getByLabel('Signature', { exact: true }).fill(await account.signMessage({ message }))
    await page.getByRole('button', { name: 'Allow', exact: true }).click()
    const tokens = await exchange(login, await calledBack(login))
    expect(tokens.scope === 'chat pii account:read', `scope: ${tokens.scope}`)
  }

  async function saysNo() {
    const login = begin(registered.client_id)
    await page.goto(login.url)
    await page.getByRole('link', { name: 'No, do not allow it' }).click()
    const back = await calledBack(login)
    expect(back.get('error') === 'access_denied' && !back.has('code'), `denied: ${back}`)
  }

  async function cannotBeFramed() {
    framed = begin(registered.client_id).url
    const other = await context.newPage()
    await other.goto(`${local}/framing`)
    const inside = other.frames().find((frame) => frame !== other.mainFrame())
    const text = await inside.locator('body').innerText().catch(() => '')
    expect(!text.includes('Allow'), `in a frame: ${text}`)
    await other.close()
  }

  async function looksFinishedAtNight() {
    await page.emulateMedia({ colorScheme: 'dark' })
    await page.goto(begin(registered.client_id).url)
    await look('consent-dark')
    await page.goto(`${origin}/oauth/authorize?client_id=nobody`)
    expect((await page.locator('main').innerText()).includes('connect again'), 'how to recover')
    await look('unknown-client')
  }

  async function exchange(login, back) {
    return post(
      '/oauth/token',
      new URLSearchParams({
        grant_type: 'authorization_code',
        code: back.get('code'),
        client_id: registered.client_id,
        redirect_uri: `${local}/callback`,
        code_verifier: login.verifier,
      }),
    )
  }
}

/** Runs in the page: a wallet as an extension announces it. */
function announceWallet(address) {
  const text = (hex) => new TextDecoder().decode(new Uint8Array(hex.slice(2).match(/../g).map((b) => parseInt(b, 16))))
  const provider = {
    request: async ({ method, params }) => {
      if (method === 'eth_requestAccounts') return [address]
      if (method === 'personal_sign') return window.signInNode(text(params[0]))
      throw new Error(`the wallet has no ${method}`)
    },
  }
  const icon = 'data:image/svg+xml,<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><circle cx="4" cy="4" r="4"/></svg>'
  const info = { uuid: '350670db-19fa-4704-a166-e52e178b59d2', name: 'Test wallet', icon, rdns: 'example.wallet' }
  const announce = () =>
    window.dispatchEvent(new CustomEvent('eip6963:announceProvider', { detail: Object.freeze({ info, provider }) }))
  window.addEventListener('eip6963:requestProvider', announce)
  announce()
}

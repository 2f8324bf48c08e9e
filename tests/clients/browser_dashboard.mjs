// People use the dashboard in a real browser: a newcomer with a wallet that announces itself (EIP-6963), another with a passkey
// alone, and one who buys a key on the chain. Then every page is looked at: axe, light and dark, narrow and wide.
//
//   node browser_dashboard.mjs <origin of the server> [dev.json] [folder for screenshots]
//
// Without dev.json nothing is bought on the chain. The browser is the program that CHROMIUM names, or /usr/bin/chromium.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { chromium } from 'playwright-core'
import { createClient, http } from 'viem'
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts'
import { getTransactionReceipt, sendTransaction } from 'viem/actions'
import { tempoLocalnet } from 'viem/chains'
import { Account } from 'viem/tempo'
import { judge, readDev } from './lib.mjs'

const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]
const AXE = join(import.meta.dirname, '../../dashboard/node_modules/axe-core/axe.min.js')
const PAGES = [
  '',
  '/keys',
  '/usage',
  '/billing',
  '/models',
  '/playground',
  '/privacy',
  '/channels',
  '/connections',
  '/settings',
  '/docs',
  '/docs/developer',
  '/docs/reference',
  '/nowhere',
]

const [origin, devPath, pictures] = process.argv.slice(2)
const dev = devPath ? readDev(devPath) : null

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  headless: true,
  args: FLAGS,
})
try {
  await judge('browser_dashboard', 'browser', (expect) => run(expect).catch(lookAtFailure))
} finally {
  await browser.close()
}

/** Keeps a picture of what was there when a step failed. */
async function lookAtFailure(error) {
  const open = browser.contexts().flatMap((context) => context.pages())
  if (pictures) for (const [at, page] of open.entries()) await page.screenshot({ path: join(pictures, `failed-${at}.png`) })
  throw error
}

async function run(expect) {
  const requests = []

  /** A browser of somebody's own, in which nothing may go wrong unseen. */
  async function open({ width = 1280, height = 900, ...options } = {}) {
    const context = await browser.newContext({ viewport: { width, height }, locale: 'en-US', ...options })
    await context.grantPermissions(['clipboard-read', 'clipboard-write'], { origin })
    await context.addInitScript(() => {
      addEventListener('securitypolicyviolation', (event) => console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`))
    })
    const page = await context.newPage()
    page.on('pageerror', (error) => expect(false, `an error on ${page.url()}: ${error.message}`))
    page.on('console', (line) => {
      const isRefusal = line.text().startsWith('Failed to load resource')
      if (line.type() === 'error' && !isRefusal) expect(false, `on the console of ${page.url()}: ${line.text()}`)
    })
    page.on('request', (request) => {
      const url = new URL(request.url())
      if (!['data:', 'blob:'].includes(url.protocol) && url.origin !== new URL(origin).origin) expect(false, `asked elsewhere: ${url}`)
      requests.push(url.pathname)
    })
    return { context, page }
  }

  const newcomer = await hasAWallet()
  await hasAPasskey()
  if (dev?.keySale) await buysOnTheChain()
  await looksAtPages(newcomer)
  return { wallet: newcomer.account.address, pages: PAGES.length }

  /** Puts wallets into a browser: one that signs, and one whose owner says no. */
  async function giveWallet(context, account) {
    const signed = []
    await context.exposeFunction('walletCalls', async ({ method, params = [] }) => {
      switch (method) {
        case 'eth_requestAccounts':
          return [account.address]
        case 'eth_chainId':
          return dev ? `0x${dev.chainId.toString(16)}` : '0x1'
        case 'personal_sign': {
          const message = Buffer.from(params[0].slice(2), 'hex').toString()
          signed.push(message)
          return account.signMessage({ message })
        }
        default:
          return chainCall(method, params)
      }
    })
    await context.addInitScript(announceWallets)
    return signed
  }

  async function signIn(page) {
    await page.goto(`${origin}/dashboard`)
    await page.getByRole('button', { name: 'Continue with Test wallet' }).click()
    await page.getByRole('heading', { level: 1, name: 'Overview' }).waitFor()
  }

  async function hasAWallet() {
    const account = privateKeyToAccount(generatePrivateKey())
    const { context, page } = await open()
    const signed = await giveWallet(context, account)
    await lands(page)
    await isRefused(page)
    await page.getByRole('button', { name: 'Continue with Test wallet' }).click()
    await page.getByText('Three steps to your first answer').waitFor()
    expect(signed.length === 1 && signed[0].includes(account.address), `signed: ${signed}`)
    const kept = await page.evaluate(() => JSON.stringify({ ...localStorage, ...sessionStorage }))
    expect(!kept.includes('pryv_'), `kept in the browser: ${kept}`)

    await buysCredits(page)
    const key = await makesKey(page, signed)
    await asks(page, signed)
    await seesUsage(page)
    await lowers(page, signed)
    await revokes(page, key)
    return { account, context, page }
  }

  async function lands(page) {
    await page.goto(origin)
    await page.getByRole('link', { name: 'Dashboard' }).first().click()
    await page.getByRole('heading', { name: /^Sign in to/ }).waitFor()
    expect(page.url().startsWith(`${origin}/dashboard/sign-in`), `led to ${page.url()}`)
  }

  async function isRefused(page) {
    await page.getByRole('button', { name: 'Continue with Reluctant wallet' }).click()
    await page.getByText('Nothing was signed').waitFor()
  }

  async function buysCredits(page) {
    await page.getByRole('link', { name: 'Buy credits' }).first().click()
    await page.getByRole('radio', { name: /Another amount/ }).check({ force: true })
    await page.getByLabel('Dollars', { exact: true }).fill('12.50')
    await page.getByRole('button', { name: 'Pay $12.50' }).click()
    await page.getByRole('button', { name: /^Pretend to pay/ }).click()
    await page.waitForURL('**/billing/success?*')
    await page.goto(`${origin}/dashboard/billing`)
    await page.getByText('$12.50 of credits are on your account').waitFor()
    await page.getByRole('cell', { name: 'Test checkout' }).waitFor()
    const [receipt] = await Promise.all([page.waitForEvent('popup'), page.getByRole('link', { name: 'Receipt' }).first().click()])
    await receipt.waitForLoadState()
    expect((await receipt.locator('body').innerText()).includes('12.50'), 'the receipt does not say what was paid')
    await receipt.close()
  }

  async function makesKey(page, signed) {
    await page.goto(`${origin}/dashboard/keys`)
    await page.getByRole('button', { name: 'New key' }).first().click()
    const form = page.getByRole('dialog', { name: 'New key' })
    await form.getByRole('button', { name: 'Create key' }).click()
    await form.getByText('Give the key a name').waitFor()
    await form.getByLabel('Name').fill('laptop')
    await form.getByLabel(/^Dollars a day/).fill('2')
    await form.getByRole('button', { name: 'Create key' }).click()
    const dialog = page.getByRole('dialog', { name: 'Sign this action' })
    const text = await dialog.locator('pre').innerText()
    await dialog.getByRole('button', { name: 'Sign with Test wallet' }).click()
    const secret = page.getByRole('dialog', { name: 'Copy your key now' })
    await secret.waitFor()
    expect(signed.at(-1) === text && text.includes('action=create') && text.includes('body='), `shown: ${text}, signed: ${signed.at(-1)}`)
    await page.keyboard.press('Escape')
    expect(await secret.isVisible(), 'Escape closes the window before the key was copied')
    await secret.getByRole('button', { name: 'Copy key' }).click()
    const key = await page.evaluate(() => navigator.clipboard.readText())
    await secret.getByRole('button', { name: 'I have kept it' }).click()
    await page.getByRole('link', { name: 'laptop' }).waitFor()
    expect(!(await page.content()).includes(key), 'the key is still on the page')
    const answer = await useKey(key)
    expect(answer.status === 200, `the copied key: ${answer.status}`)
    return key
  }

  async function useKey(key) {
    const models = await fetch(`${origin}/v1/models`, { headers: { authorization: `Bearer ${key}` } })
    const [{ id: model } = {}] = models.ok ? (await models.json()).data : []
    return fetch(`${origin}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model, messages: [{ role: 'user', content: 'Hello there' }] }),
    })
  }

  async function asks(page, signed) {
    await page.getByRole('link', { name: 'Playground' }).click()
    await page.getByLabel('Message', { exact: true }).fill('Words for the newcomer')
    await page.getByLabel('Message', { exact: true }).press('Enter')
    const before = signed.length
    await page.getByRole('button', { name: 'Sign with Test wallet' }).click()
    await page.getByRole('link', { name: 'Request', exact: true }).waitFor()
    expect(signed.length === before + 1, `${signed.length - before} signatures for the playground`)
    const said = await page.locator('.said.assistant').innerText()
    expect(/\$0\.\d+/.test(said), `no cost: ${said}`)
    // The key is at hand now: another question asks for no signature.
    await page.getByLabel('Message', { exact: true }).fill('And once more')
    await page.getByRole('button', { name: 'Send' }).click()
    await page.getByRole('link', { name: 'Request', exact: true }).nth(1).waitFor()
    expect(signed.length === before + 1, 'the second question was signed for')
    const kept = await page.evaluate(() => JSON.stringify({ ...localStorage, ...sessionStorage }))
    expect(!kept.includes('pryv_'), 'the key of the playground is kept in the browser')
  }

  async function seesUsage(page) {
    await page.getByRole('link', { name: 'Request', exact: true }).first().click()
    await page.getByText('How the price comes about').waitFor()
    const bill = await page.locator('main').innerText()
    expect(/Input tokens/.test(bill) && /a million/.test(bill), `the bill: ${bill}`)
    await page.getByRole('link', { name: 'Usage', exact: true }).click()
    await page.getByRole('heading', { name: 'Breakdown' }).waitFor()
    const rows = await page.getByRole('table', { name: 'Requests' }).getByRole('row').count()
    expect(rows === 4, `${rows - 1} requests in the list instead of 3`)
    const [file] = await Promise.all([page.waitForEvent('download'), page.getByRole('link', { name: 'Export CSV' }).click()])
    const csv = readFileSync(await file.path(), 'utf8')
    expect(csv.startsWith('id,time,kind'), `exported: ${csv.slice(0, 80)}`)
  }

  async function lowers(page, signed) {
    await page.getByRole('link', { name: 'API keys' }).click()
    await page.getByRole('link', { name: 'laptop' }).click()
    const before = signed.length
    const change = async (limit) => {
      await page.getByRole('button', { name: 'Edit' }).click()
      await page.getByLabel(/^Dollars a day/).fill(limit)
      await page.getByRole('button', { name: 'Save changes' }).click()
    }
    await change('1')
    await page.getByText('of $1.00').waitFor()
    expect(signed.length === before, 'lowering a limit was signed for')
    await change('3')
    await page.getByRole('button', { name: 'Sign with Test wallet' }).click()
    await page.getByText('of $3.00').waitFor()
    expect(signed.at(-1).includes('action=update'), `raising was signed as ${signed.at(-1)}`)
  }

  async function revokes(page, key) {
    await page.getByRole('button', { name: 'Revoke' }).click()
    await page.getByRole('button', { name: 'Revoke key' }).click()
    await page.getByText('Revoked').first().waitFor()
    const answer = await useKey(key)
    expect(answer.status === 401, `the revoked key: ${answer.status}`)
  }

  async function signsOut(page) {
    await page.goto(`${origin}/dashboard/settings`)
    await page.getByRole('main').getByRole('button', { name: 'Sign out' }).click()
    await page.getByRole('heading', { name: /^Sign in to/ }).waitFor()
    await page.goto(`${origin}/dashboard/keys`)
    await page.waitForURL('**/dashboard/sign-in?back=%2Fkeys')
  }

  /** A device with a passkey and no wallet, and then another browser that has the passkey alone. */
  async function hasAPasskey() {
    const { context, page } = await open()
    const session = await context.newCDPSession(page)
    await session.send('WebAuthn.enable')
    const options = { protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true }
    await session.send('WebAuthn.addVirtualAuthenticator', { options })
    await page.goto(`${origin}/dashboard`)
    await page.getByText('No wallet extension was found').waitFor()
    await page.getByRole('button', { name: 'Make a new passkey' }).click()
    await page.getByLabel('Name of the passkey').fill('Test device')
    await page.getByRole('button', { name: 'Make passkey and sign in' }).click()
    await page.getByRole('heading', { level: 1, name: 'Overview' }).waitFor()
    await page.goto(`${origin}/dashboard/keys?new`)
    await page.getByLabel('Name').fill('by passkey')
    await page.getByRole('button', { name: 'Create key' }).click()
    await page.getByRole('button', { name: 'Sign with passkey' }).click()
    const secret = page.getByRole('dialog', { name: 'Copy your key now' })
    await secret.getByRole('button', { name: 'Copy key' }).click()
    await secret.getByRole('button', { name: 'I have kept it' }).click()
    await page.goto(`${origin}/dashboard/settings`)
    await page.getByRole('cell', { name: 'Test device', exact: true }).waitFor()
    await signsOut(page)
    await page.evaluate(() => localStorage.clear())
    await page.goto(`${origin}/dashboard`)
    await page.getByRole('button', { name: 'Continue with a passkey' }).click()
    await page.getByRole('heading', { level: 1, name: 'Overview' }).waitFor()
    await page.goto(`${origin}/dashboard/keys`)
    await page.getByRole('link', { name: 'by passkey' }).waitFor()
    await context.close()
  }

  async function buysOnTheChain() {
    const account = privateKeyToAccount(dev.agentPrivateKey)
    const { context, page } = await open()
    await giveWallet(context, account)
    await signIn(page)
    await page.goto(`${origin}/dashboard/billing`)
    await page.getByRole('radio', { name: 'On the chain' }).check({ force: true })
    await page.getByRole('button', { name: 'Make the key' }).click()
    const dialog = page.getByRole('dialog', { name: 'Pay on the chain' })
    const pay = dialog.getByRole('button', { name: /with your wallet/ })
    expect(await pay.isDisabled(), 'the wallet can pay before the key was copied')
    await dialog.getByRole('button', { name: 'Copy key' }).click()
    const key = await page.evaluate(() => navigator.clipboard.readText())
    await pay.click()
    await dialog.getByText('Your key works now').waitFor({ timeout: 60_000 })
    if (pictures) await page.screenshot({ path: join(pictures, 'chain.png') })
    const answer = await useKey(key)
    expect(answer.status === 200, `the bought key: ${answer.status}`)
    await context.close()
  }

  async function looksAtPages({ context, page }) {
    await context.addInitScript({ path: AXE })
    for (const width of [1280, 390]) {
      await page.setViewportSize({ width, height: width < 500 ? 844 : 900 })
      for (const path of PAGES) await look(page, path, width)
    }
    await signsOut(page)
    await look(page, '/sign-in', 390)
  }

  async function look(page, path, width) {
    await page.goto(`${origin}/dashboard${path}`)
    await page.locator('h1').first().waitFor()
    await page.locator('.skeleton').first().waitFor({ state: 'detached' })
    for (const theme of ['light', 'dark']) {
      // Colours change at once, so that none is judged on its way.
      await page.emulateMedia({ colorScheme: theme, reducedMotion: 'reduce' })
      const where = `${path || '/'} ${theme} ${width}`
      const findings = await page.evaluate(async () => {
        const { violations } = await globalThis.axe.run(document, {
          runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
        })
        return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ').slice(0, 300)}`)
      })
      for (const finding of findings) expect(false, `axe at ${where}: ${finding}`)
      const wider = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)
      expect(wider <= 0, `${where} is ${wider} px wider than the window`)
      const name = `${(path || '/overview').slice(1).replaceAll('/', '-')}-${width}-${theme}.png`
      if (pictures) await page.screenshot({ path: join(pictures, name), fullPage: true })
    }
  }
}

/** What a wallet asks its own node. */
async function chainCall(method, params) {
  const chain = { ...tempoLocalnet, id: dev.chainId, rpcUrls: { default: { http: [dev.rpcUrl] } } }
  // Fees are paid in dollars, as wallets that know the chain do it.
  const client = createClient({ account: Account.fromSecp256k1(dev.agentPrivateKey), chain, transport: http(dev.rpcUrl) })
  if (method === 'eth_call') return client.request({ method, params })
  if (method === 'eth_sendTransaction') {
    const [{ to, data }] = params
    return sendTransaction(client, { calls: [{ to, data }] })
  }
  if (method === 'eth_getTransactionReceipt') {
    const receipt = await getTransactionReceipt(client, { hash: params[0] }).catch(() => null)
    return receipt && { status: receipt.status === 'success' ? '0x1' : '0x0' }
  }
  throw new Error(`the wallet has no ${method}`)
}

/** Runs in the page: two wallets as extensions announce them. */
function announceWallets() {
  const icon = 'data:image/svg+xml,<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><circle cx="4" cy="4" r="4" fill="teal"/></svg>'
  const wallet = (uuid, name, request) => ({ info: { uuid, name, icon, rdns: `example.${uuid}` }, provider: { request } })
  const wallets = [
    wallet('signs', 'Test wallet', (call) => window.walletCalls(call)),
    wallet('refuses', 'Reluctant wallet', async () => {
      throw Object.assign(new Error('User rejected the request.'), { code: 4001 })
    }),
  ]
  const announce = () => {
    for (const detail of wallets) dispatchEvent(new CustomEvent('eip6963:announceProvider', { detail: Object.freeze(detail) }))
  }
  addEventListener('eip6963:requestProvider', announce)
  announce()
}

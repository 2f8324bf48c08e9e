// A person with a wallet buys credits at the test checkout of `farebox dev`, in a real browser: pays
// impatiently, comes back, reloads, gives up. Each checkout is credited once, or not at all.
//
//   node browser_checkout.mjs <dev.json> [folder for screenshots]
//
// The browser is the program that CHROMIUM names, or /usr/bin/chromium.
import { createHash, randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { chromium } from 'playwright-core'
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts'
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
const BILLING = '/api/v1/billing'

const [devPath, pictures] = process.argv.slice(2)
const dev = readDev(devPath)
// A wallet of its own, so that nobody else's credit is counted.
const account = privateKeyToAccount(generatePrivateKey())

/** One action that the wallet signs for. */
async function signed(action, path, body = {}) {
  const stamp = `nonce=${randomUUID()} | ts=${new Date().toISOString()}`
  const digest = createHash('sha256').update(JSON.stringify(body)).digest('hex') // one name: canonical as it is
  const place = `host=${new URL(dev.url).host} | body=${digest}`
  const message = `Pryv API key mgmt | action=${action} | keyId= | ${stamp} | ${place}`
  const signature = await account.signMessage({ message })
  const response = await fetch(`${dev.url}${BILLING}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ walletAddress: account.address, message, signature, ...body }),
  })
  const answer = await response.json()
  if (response.status !== 200) throw new Error(`${action}: ${response.status} ${JSON.stringify(answer)}`)
  return answer
}
const checkout = (usdAmount) => signed('checkout', '/checkout', { usdAmount })
const credits = async () => (await signed('balance', '/balance')).available

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  headless: true,
  args: FLAGS,
})
try {
  await judge('browser_checkout', 'browser', run)
} finally {
  await browser.close()
}

async function run(expect) {
  const page = await browser.newPage({ viewport: { width: 800, height: 600 } })
  page.on('dialog', (dialog) => {
    expect(false, `a script ran: ${dialog.message()}`)
    dialog.dismiss()
  })
  page.on('pageerror', (error) => expect(false, `an error on a page: ${error.message}`))
  const look = (name) => pictures && page.screenshot({ path: join(pictures, `${name}.png`) })
  const says = async (words) => (await page.locator('main').innerText()).includes(words)
  const pay = page.getByRole('button', { name: /^Pretend to pay/ })

  await paysOnce()
  await leaves()
  await isImpatient()
  await readsNothingFromTheAddress()
  return { wallet: account.address, credits: await credits() }

  async function paysOnce() {
    const order = await checkout('12.50')
    expect(order.test === true && order.url.startsWith(dev.url), `the checkout: ${JSON.stringify(order)}`)
    await page.goto(order.url)
    await look('checkout')
    expect((await page.title()).startsWith('Test checkout'), `titled ${await page.title()}`)
    expect(await says('This is a test, not a payment.'), 'the page is not named as a test')
    expect(await says('$12.50'), 'the price is not on the page')
    expect(await says(account.address.toLowerCase()), 'the account is not on the page')
    expect((await page.getByRole('heading', { level: 1 }).count()) === 1, 'not one heading')
    expect((await page.getAttribute('html', 'lang')) === 'en', 'no language')
    expect((await credits()) === '0.00', 'credited by looking')

    // By keyboard alone: past the links at the top, the button is what Tab comes to first.
    const links = await page.locator('header a').count()
    for (let at = 0; at <= links; at += 1) await page.keyboard.press('Tab')
    expect(await pay.evaluate((button) => button === document.activeElement), 'Tab leads elsewhere')
    await look('focused')
    await Promise.all([page.waitForURL(`**${BILLING}/success?*`), page.keyboard.press('Enter')])
    await look('success')
    expect(await says('credits are on the account'), 'the success page does not say so')
    expect(await says('This is a test'), 'the success page is not named as a test')
    expect((await credits()) === '12.50', `after paying: ${await credits()}`)

    await page.reload()
    expect((await credits()) === '12.50', 'credited by reloading')
    await page.goBack()
    // A browser may show the page as it was, with its button.
    if (await pay.count()) await Promise.all([page.waitForURL(`**${BILLING}/success?*`), pay.click()])
    await page.goto(order.url)
    await look('done')
    expect(await says('was paid before'), 'the checkout can be paid again')
    expect((await pay.count()) === 0, 'a button to pay again')
    expect((await credits()) === '12.50', 'credited by going back')
  }

  async function leaves() {
    const order = await checkout('30')
    await page.goto(order.url)
    await Promise.all([page.waitForURL(`**${BILLING}/cancel`), page.getByRole('link', { name: 'Leave without paying' }).click()])
    await look('cancel')
    expect(await says('Nothing was charged'), 'the cancel page does not say so')
    expect((await credits()) === '12.50', 'credited by leaving')
    // Still there for who thinks again.
    await page.goBack()
    await Promise.all([page.waitForURL(`**${BILLING}/success?*`), pay.click()])
    expect((await credits()) === '42.50', `after thinking again: ${await credits()}`)
  }

  /** Two clicks in one page, and two pages at once. */
  async function isImpatient() {
    const order = await checkout('7')
    const other = await browser.newPage()
    await Promise.all([page.goto(order.url), other.goto(order.url)])
    const second = other.getByRole('button', { name: /^Pretend to pay/ })
    await Promise.all([
      page.waitForURL(`**${BILLING}/success?*`),
      other.waitForURL(`**${BILLING}/success?*`),
      pay.dblclick({ noWaitAfter: true }),
      second.click({ noWaitAfter: true }),
    ])
    await other.close()
    expect((await credits()) === '49.50', `after four clicks: ${await credits()}`)
  }

  async function readsNothingFromTheAddress() {
    const hostile = encodeURIComponent('"><script>alert(1)</script><img src=x onerror=alert(2)>')
    for (const path of ['success', 'cancel']) {
      await page.goto(`${dev.url}${BILLING}/${path}?session_id=${hostile}&product=${hostile}#${hostile}`)
      expect(!(await page.content()).includes('alert('), `${path} repeats its address`)
      expect((await page.locator('script, main img').count()) === 0, `${path} holds more than text`)
    }
    const unknown = await page.goto(`${dev.url}${BILLING}/test-checkout/${hostile}`)
    expect(unknown.status() === 404, `an unknown checkout: ${unknown.status()}`)
    expect(!(await page.content()).includes('alert('), 'an unknown checkout is repeated')
  }
}

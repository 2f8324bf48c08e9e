// Tests of what the pages compute: amounts, messages, keys, signatures, guides. The rest is tested in a browser, by
// tests/clients/browser_dashboard.mjs.
import assert from 'node:assert/strict'
import { createHash, generateKeyPairSync, sign } from 'node:crypto'
import { after, test } from 'node:test'
import { createServer } from 'vite'
import { guide } from '../scripts/guides.mjs'

// Modules look at the browser when they are loaded.
globalThis.localStorage = { getItem: () => null, setItem: () => {}, removeItem: () => {} }
globalThis.document = { documentElement: { dataset: {} } }
globalThis.location = { href: 'http://localhost/', host: 'localhost', pathname: '/dashboard', search: '', hash: '' }
Object.defineProperty(globalThis, 'navigator', { value: { language: 'en-US', languages: ['en-US'] }, configurable: true })
globalThis.addEventListener = () => {}

const vite = await createServer({ root: `${import.meta.dirname}/..`, server: { middlewareMode: true }, appType: 'custom', logLevel: 'error' })
after(() => vite.close())
const load = (path) => vite.ssrLoadModule(`/src/${path}`)

test('amounts are added up in millionths and written so that they can be read', async () => {
  const { dollars, exactMoney, headline, micros, money } = await load('lib/format.ts')
  for (const [text, amount] of [['0.000101', 101], ['10', 10_000_000], ['1234.5', 1_234_500_000], ['-2.00', -2_000_000], ['0', 0], [null, 0]]) {
    assert.equal(micros(text), amount, text)
  }
  assert.equal(dollars(101), '0.000101')
  assert.equal(dollars(12_500_000), '12.50')
  assert.equal(dollars(-2_000_000), '-2.00')
  for (const [amount, shown] of [[101, '$0.000101'], [50_000, '$0.05'], [12_500, '$0.0125'], [1_234_560_000, '$1,234.56'], [-33_837, '\u2212$0.033837'], [0, '$0.00']]) {
    assert.equal(money(amount), shown)
  }
  assert.equal(exactMoney(1_234_567), '$1.234567')
  assert.equal(money(headline(360_980)), '$0.36')
  assert.equal(money(headline(917)), '$0.000917')
})

test('a message names the action, the host and the digest of the canonical body', async () => {
  const { actionMessage, canonicalJson } = await load('api/sign.ts')
  assert.equal(canonicalJson({ b: [1, { d: null, c: 'é' }], a: true, left: undefined }), '{"a":true,"b":[1,{"c":"é","d":null}]}')
  const message = await actionMessage('Pryv', 'api.example.com', { action: 'rotate', keyId: 'abc', body: { graceSeconds: 0 } })
  const digest = createHash('sha256').update('{"graceSeconds":0}').digest('hex')
  assert.match(message, /^Pryv API key mgmt \| action=rotate \| keyId=abc \| nonce=[0-9a-f-]{36} \| ts=20[^|]+Z \| host=api\.example\.com \| body=[0-9a-f]{64}$/)
  assert.ok(message.endsWith(digest))
})

test('a key made in the browser has the id that the server computes', async () => {
  const { makeKey } = await load('api/purchase.ts')
  const owner = `0x${'5b'.repeat(20)}`
  const key = await makeKey('pryv_', owner)
  const secret = key.text.slice('pryv_'.length + 16)
  const hash = createHash('sha256').update(secret).digest()
  const digest = createHash('sha256').update(Buffer.concat([hash, Buffer.from(owner.slice(2), 'hex')])).digest()
  const id = [...digest.subarray(0, 16)].map((byte) => 'abcdefghijklmnopqrstuvwxyz0123456789'[byte % 36]).join('')
  assert.equal(secret.length, 43)
  assert.deepEqual([key.id, key.hash], [id, hash.toString('hex')])
})

test('signatures of passkeys have 32 bytes each and a low s', async () => {
  const { addressOf, fromDer } = await load('api/passkey.ts')
  const half = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n / 2n
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  for (let round = 0; round < 64; round++) {
    const [r, s] = fromDer(new Uint8Array(sign('sha256', Buffer.from(String(round)), privateKey)))
    assert.deepEqual([r.length, s.length], [32, 32])
    assert.ok(BigInt(`0x${Buffer.from(s).toString('hex')}`) <= half)
  }
  assert.match(addressOf(new Uint8Array(65).fill(4)), /^0x[0-9a-f]{40}$/)
})

test('a limit that is higher, or gone, is a raise', async () => {
  const { raises } = await load('pages/keys/actions.ts')
  const key = { expiresAt: '2030-01-01T00:00:00Z', limits: { rpm: 10, tpm: null, dailyUsd: '2.00', totalUsd: null, models: ['a', 'b'] } }
  const same = { rpm: 10, dailyUsd: '2.00', models: ['a', 'b'] }
  for (const [changes, expected] of [
    [{ name: 'x' }, false],
    [{ limits: { ...same, dailyUsd: '1.5' } }, false],
    [{ limits: { ...same, dailyUsd: '2.01' } }, true],
    [{ limits: { ...same, dailyUsd: undefined } }, true],
    [{ limits: { ...same, totalUsd: '5' } }, false],
    [{ limits: { ...same, models: ['a'] } }, false],
    [{ limits: { ...same, models: ['a', 'c'] } }, true],
    [{ expiresAt: '2029-01-01T00:00:00Z' }, false],
    [{ expiresAt: null }, true],
  ]) {
    assert.equal(raises(key, changes), expected, JSON.stringify(changes))
  }
})

test('placeholders count values, and offsets count characters', async () => {
  const { placeholders } = await load('pages/privacy/marked.tsx')
  const entity = (start, end) => ({ type: 'EMAIL_ADDRESS', start, end, score: 1, recognizer: '' })
  assert.equal(placeholders('🙂 a@b.c, d@e.f, a@b.c', [entity(2, 7), entity(9, 14), entity(16, 21)]), '🙂 [EMAIL_ADDRESS_1], [EMAIL_ADDRESS_2], [EMAIL_ADDRESS_1]')
})

test('a guide becomes a tree whose links lead somewhere', () => {
  const { title, headings, blocks } = guide('# Title\n\n## One & two\n\nSee [agents](agent.md#x), [files](../x.rs) and `a < b`.\n', ['agent'])
  assert.equal(title, 'Title')
  assert.deepEqual(headings, [{ level: 2, text: 'One & two', id: 'one-two' }])
  assert.deepEqual(blocks.at(-1), ['p', {}, 'See ', ['a', { href: '/dashboard/docs/agent#x' }, 'agents'], ', ', 'files', ' and ', ['code', {}, 'a < b'], '.'])
})

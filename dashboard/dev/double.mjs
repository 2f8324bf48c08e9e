// A double of the server for looking at pages without one: the routes that the dashboard calls, invented data, nothing kept.
// It verifies no signature and is no part of the build; tests run against the real server.
//
//   npm run build && npm run double [port] [empty]
import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { extname, join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'

const port = Number(process.argv[2] ?? 8455)
const isEmpty = process.argv[3] === 'empty'
const dist = join(import.meta.dirname, '../dist')
const DAY = 86_400_000
const KINDS = { '.js': 'text/javascript', '.css': 'text/css', '.html': 'text/html; charset=utf-8', '.json': 'application/json' }
const CSP =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; " +
  "form-action 'self'; frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

let seed = 7
const random = () => ((seed = (seed * 1_103_515_245 + 12_345) & 0x7fffffff) / 0x7fffffff)
const usd = (micros) => (micros / 1e6).toFixed(6).replace(/0{1,4}$/, '')
const micros = (text) => Math.round(Number(text) * 1e6)
const now = () => Date.now()
const iso = (at) => new Date(at).toISOString()
const id = () => Array.from(randomBytes(16), (byte) => 'abcdefghijklmnopqrstuvwxyz0123456789'[byte % 36]).join('')

const MODELS = [
  { id: 'llama-3.3-70b', name: 'Llama 3.3 70B', contextLength: 131_072, maxOutputTokens: 8_192, prices: { inputPerMillion: '0.20', outputPerMillion: '0.80', perChunk: '0.0001', items: {} }, available: true },
  { id: 'qwen3-235b', name: 'Qwen3 235B', contextLength: 262_144, maxOutputTokens: 32_768, prices: { inputPerMillion: '0.45', outputPerMillion: '1.80', perChunk: '0.0002', items: { cachedInput: '0.045' } }, available: true },
  { id: 'deepseek-r1', name: 'DeepSeek R1', contextLength: 65_536, maxOutputTokens: 16_384, prices: { inputPerMillion: '0.55', outputPerMillion: '2.20', perChunk: null, items: { reasoning: '2.20', request: '0.001' } }, available: false },
  { id: 'dev-scripted', name: null, contextLength: 8_192, maxOutputTokens: 1_024, prices: { inputPerMillion: '0.10', outputPerMillion: '0.40', perChunk: '0.0001', items: null }, available: true },
]
const NO_LIMITS = { rpm: null, tpm: null, dailyUsd: null, totalUsd: null, models: null }
const sessions = new Map()
const passkeys = new Map()
const checkouts = new Map()
const streams = new Set()

const keys = isEmpty
  ? []
  : [
      ['production', { ...NO_LIMITS, dailyUsd: '5.00', rpm: 600 }, 'key', 41],
      ['laptop', { ...NO_LIMITS, dailyUsd: '1.00', totalUsd: '20.00' }, 'key', 26],
      ['Codex', { ...NO_LIMITS, dailyUsd: '2.00' }, 'grant', 12],
      ['API key', { ...NO_LIMITS, totalUsd: '10.00' }, 'bought', 8],
      ['old staging', NO_LIMITS, 'key', 57],
    ].map(([name, limits, kind, age], at) => ({
      id: id(),
      name,
      status: at === 4 ? 'revoked' : 'active',
      createdAt: iso(now() - age * DAY),
      lastUsedAt: at === 3 ? null : iso(now() - at * 3_700_000 - 65_000),
      revokedAt: at === 4 ? iso(now() - 20 * DAY) : null,
      expiresAt: at === 1 ? iso(now() + 9 * DAY) : null,
      limits,
      kind,
    }))
const entries = []
const account = { credited: 0, spent: 0, held: 0 }

function add(entry) {
  entries.unshift({ id: randomUUID(), units: 1, unitPrice: null, source: null, requestId: null, meta: {}, createdAt: iso(now()), ...entry })
  const amount = micros(entry.amount)
  if (entry.kind === 'credit') account.credited += amount
  else account.spent += amount
  return entries[0]
}

function charge(service, key, prompt, completion, at) {
  const model = MODELS.find((one) => one.id === service)
  if (!model) return add({ kind: 'purchase', direction: 'out', amount: '0.05', service, unitPrice: '0.05', requestId: randomUUID(), meta: { key }, createdAt: iso(at) })
  const { inputPerMillion, outputPerMillion } = model.prices
  const cost = Math.ceil(prompt * Number(inputPerMillion) + completion * Number(outputPerMillion))
  const items = [
    { item: 'input', tokens: prompt, pricePerMillion: inputPerMillion, amount: usd(prompt * Number(inputPerMillion)) },
    { item: 'output', tokens: completion, pricePerMillion: outputPerMillion, amount: usd(completion * Number(outputPerMillion)) },
  ]
  const meta = { key, promptTokens: prompt, completionTokens: completion, items }
  return add({ kind: 'usage', direction: 'out', amount: usd(cost), service, units: prompt + completion, requestId: randomUUID(), meta, createdAt: iso(at) })
}

if (!isEmpty) {
  const credit = (amount, source, days) => add({ kind: 'credit', direction: 'in', amount, service: 'credits', source, createdAt: iso(now() - days * DAY) })
  credit('50.00', 'card:pi_3QxT7f2eZvKYlo2C', 58)
  credit('10.00', `tx:0x${'ab12'.repeat(16)}`, 8)
  for (let day = 56; day >= 0; day--) {
    const busy = [0.5, 1, 1.1, 1.3, 1.2, 1, 0.4][new Date(now() - day * DAY).getUTCDay()]
    for (let request = 0; request < Math.round(busy * (6 + random() * 12)); request++) {
      const at = now() - day * DAY - random() * (day === 0 ? 3_600_000 : DAY * 0.6)
      const service = ['llama-3.3-70b', 'llama-3.3-70b', 'qwen3-235b', 'deepseek-r1', 'pii.preview'][Math.floor(random() * 5)]
      const key = keys[Math.floor(random() * 3)].id
      charge(service, key, Math.floor(400 + random() * 60_000), Math.floor(80 + random() * 12_000), at)
    }
  }
  add({ kind: 'refund', direction: 'out', amount: '2.00', service: 'credits', source: 'card:pi_3QxT7f2eZvKYlo2C', createdAt: iso(now() - 5 * DAY) })
  entries.sort((a, b) => b.createdAt.localeCompare(a.createdAt))
}
const channels = isEmpty
  ? []
  : [
      { id: `0x${'4f'.repeat(32)}`, state: 'open', depositUsd: '5.00', spentUsd: '1.284300', acceptedUsd: '1.50', openedAt: iso(now() - 3 * DAY), lastUsedAt: iso(now() - 240_000), closedAt: null, chainUrl: 'https://explore.tempo.xyz/tx/0x1' },
      { id: `0x${'c3'.repeat(32)}`, state: 'closed', depositUsd: '1.00', spentUsd: '0.020100', acceptedUsd: '0.020100', openedAt: iso(now() - 19 * DAY), lastUsedAt: iso(now() - 18 * DAY), closedAt: iso(now() - 18 * DAY), chainUrl: null },
    ]
let grants = isEmpty
  ? []
  : [{ id: keys[2].id, client: { id: 'https://chatgpt.com/codex/client.json', name: 'Codex' }, resource: `http://localhost:${port}/mcp`, scopes: ['chat', 'pii', 'account:read'], status: 'active', grantedAt: iso(now() - 12 * DAY), lastUsedAt: iso(now() - 7_000_000), expiresAt: iso(now() + 18 * DAY), limits: { ...NO_LIMITS, dailyUsd: '2.00' } }]

const spendOf = (key) => {
  const today = iso(now()).slice(0, 10)
  const own = entries.filter((entry) => entry.meta.key === key)
  const sum = (list) => usd(list.reduce((total, entry) => total + micros(entry.amount), 0))
  return { totalUsd: sum(own), todayUsd: sum(own.filter((entry) => entry.createdAt.startsWith(today))) }
}
const keyView = (key) => ({ ...key, prefix: `pryv_${key.id}`, spend: spendOf(key.id) })
const balance = () => ({ available: usd(account.credited - account.spent - account.held), credited: usd(account.credited), spent: usd(account.spent), held: usd(account.held), debt: '0.00' })
const tell = (event, data) => {
  for (const stream of streams) stream.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`)
}
const tellBalance = () => {
  const { available, held, spent, credited } = balance()
  tell('balance', { availableUsd: available, heldUsd: held, spentUsd: spent, creditedUsd: credited })
}

function usage(query) {
  const by = (query.get('by') ?? 'day').split(',')
  const [from, to] = [query.get('from'), query.get('to')]
  const rows = new Map()
  const total = { requests: 0, promptTokens: 0, completionTokens: 0, cost: 0 }
  for (const entry of entries) {
    if (!['usage', 'purchase'].includes(entry.kind)) continue
    const all = { day: entry.createdAt.slice(0, 10), service: entry.service, key: entry.meta.key, kind: entry.kind }
    if ((from && all.day < from) || (to && all.day > to)) continue
    if (query.get('key') && query.get('key') !== all.key) continue
    const named = Object.fromEntries(by.map((name) => [name, all[name]]))
    const name = JSON.stringify(named)
    const row = rows.get(name) ?? { ...named, kind: entry.kind, requests: 0, promptTokens: 0, completionTokens: 0, cost: 0 }
    for (const one of [row, total]) {
      one.requests += 1
      one.promptTokens += entry.meta.promptTokens ?? 0
      one.completionTokens += entry.meta.completionTokens ?? 0
      one.cost += micros(entry.amount)
    }
    rows.set(name, row)
  }
  const view = ({ cost, ...row }) => ({ ...row, costUsd: usd(cost) })
  return { rows: [...rows.values()].map(view), total: view(total), from, to }
}

function statement(query) {
  let list = entries
  for (const [name, read] of [['kind', (e) => e.kind], ['service', (e) => e.service], ['key', (e) => e.meta.key], ['requestId', (e) => e.requestId]]) {
    const wanted = query.get(name)
    if (wanted) list = list.filter((entry) => read(entry) === wanted)
  }
  if (query.get('from')) list = list.filter((entry) => entry.createdAt >= query.get('from'))
  if (query.get('to')) list = list.filter((entry) => entry.createdAt.slice(0, 10) <= query.get('to'))
  const [begin, limit] = [Number(query.get('cursor') ?? 0), Number(query.get('limit') ?? 100)]
  return { entries: list.slice(begin, begin + limit), next: begin + limit < list.length ? String(begin + limit) : null }
}

const fail = (status, code, message) => Object.assign(new Error(message), { status, code })

const PLATFORM = {
  product: { name: 'Pryv' },
  urls: { api: `http://localhost:${port}`, platform: `http://localhost:${port}`, mcp: `http://localhost:${port}/mcp` },
  chain: { id: 1337, currency: `0x20c0${'0'.repeat(36)}` },
  keySale: { address: '0x5fbdb2315678afecb367f032d93f642f64180aa3', version: 2 },
  cards: true,
  cardsAreATest: true,
  keys: { prefix: 'pryv_', defaultRpm: 60, defaultTpm: 100_000, maxRpm: 1000, maxTpm: 1_000_000 },
  prices: { previewUsd: '0.05' },
  signIn: { extension: true, passkey: true },
  channels: true,
}
const PACKS = [['starter', 'Starter', '10.00', '10.00'], ['builder', 'Builder', '50.00', '52.50'], ['scale', 'Scale', '250.00', '275.00']]

async function route(method, path, query, body, request) {
  const owner = sessions.get(/session=([^;]+)/.exec(request.headers.cookie ?? '')?.[1])
  const known = `${method} ${path}`
  if (known === 'GET /platform') return PLATFORM
  if (known === 'GET /models') return { models: MODELS }
  if (known === 'GET /auth/session') return { session: owner ?? null }
  if (known === 'POST /auth/challenge') return { message: `localhost:${port} wants you to sign in with your Ethereum account:\n${body.address}\n\nSign in to Pryv.\n\nURI: http://localhost:${port}\nVersion: 1\nChain ID: 1337\nNonce: ${id()}\nIssued At: ${iso(now())}` }
  if (known === 'POST /auth') {
    const made = { wallet: body.address.toLowerCase(), createdAt: iso(now()), expiresAt: iso(now() + DAY), isAdmin: false }
    const secret = id()
    sessions.set(secret, made)
    return { session: made, cookie: secret }
  }
  if (known === 'GET /billing/credit-packs') return { packs: PACKS.map(([pack, name, priceUsd, creditsUsd]) => ({ id: pack, name, priceUsd, creditsUsd })), currency: 'USD', cardPayments: true, minUsdAmount: '5.00', maxUsdAmount: '1000.00' }
  const [, credential] = /^\/passkeys\/(.+)$/.exec(path) ?? []
  if (method === 'GET' && credential) return passkeys.get(credential) ?? Promise.reject(fail(404, 'not_found', 'there is no such passkey'))
  if (!owner) throw fail(401, 'missing_wallet_auth', 'sign in, or send walletAddress, message and signature')
  if (method === 'PUT' && credential) return passkeys.set(credential, { credentialId: credential, ...body, address: owner.wallet, createdAt: iso(now()) }).get(credential)
  if (method === 'DELETE' && credential) return void passkeys.delete(credential)
  const [, keyId] = /^\/(?:keys|oauth\/grants)\/([a-z0-9]+)/.exec(path) ?? []
  const key = keys.find((one) => one.id === keyId)
  switch (known.replace(keyId ?? '{}', '*').replace(/sessions\/.*/, 'sessions/*').replace(/checkouts\/.*/, 'checkouts/*')) {
    case 'POST /auth/logout':
      sessions.clear()
      tell('end', { reason: 'signed out' })
      return undefined
    case 'GET /auth/sessions':
      return { sessions: [{ id: 's1', current: true, createdAt: owner.createdAt, lastSeenAt: iso(now()), expiresAt: owner.expiresAt, userAgent: request.headers['user-agent'] }, { id: 's2', current: false, createdAt: iso(now() - 7e7), lastSeenAt: iso(now() - 2e7), expiresAt: iso(now() + 1e7), userAgent: 'Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) Safari/605' }] }
    case 'DELETE /auth/sessions/*':
      return undefined
    case 'GET /passkeys':
      return { passkeys: [...passkeys.values()] }
    case 'GET /billing/balance':
      return { walletAddress: owner.wallet, currency: 'USD', ...balance() }
    case 'GET /billing/usage':
      return usage(query)
    case 'GET /billing/ledger':
      return statement(query)
    case 'GET /keys':
      return { keys: keys.map(keyView) }
    case 'POST /keys': {
      const made = { id: id(), status: 'active', createdAt: iso(now()), lastUsedAt: null, revokedAt: null, kind: 'key', name: body.name ?? 'API key', expiresAt: body.expiresAt ?? null, limits: { ...NO_LIMITS, ...body.limits } }
      keys.unshift(made)
      return { ...keyView(made), key: `pryv_${made.id}${randomBytes(32).toString('base64url')}` }
    }
    case 'PATCH /keys/*':
      if (body.name) key.name = body.name
      if (body.limits) key.limits = { ...NO_LIMITS, ...body.limits }
      if (body.expiresAt !== undefined) key.expiresAt = body.expiresAt
      return keyView(key)
    case 'DELETE /keys/*':
    case 'DELETE /oauth/grants/*':
      Object.assign(key, { status: 'revoked', revokedAt: iso(now()) })
      grants = grants.filter((grant) => grant.id !== key.id)
      tell('key', { id: key.id })
      return keyView(key)
    case 'POST /billing/checkout': {
      const pack = PACKS.find(([name]) => name === body.packId)
      const made = { id: id(), state: 'open', priceUsd: pack?.[2] ?? body.usdAmount, creditsUsd: pack?.[3] ?? body.usdAmount, createdAt: iso(now()) }
      checkouts.set(made.id, made)
      setTimeout(() => {
        Object.assign(made, { state: 'paid', paidAt: iso(now()) })
        add({ kind: 'credit', direction: 'in', amount: made.creditsUsd, service: 'credits', source: `card:test_${made.id}` })
        tell('checkout', { id: made.id, state: 'paid' })
        tellBalance()
      }, 3000)
      return { checkoutId: made.id, url: `/dashboard/billing?checkout=${made.id}`, priceUsd: made.priceUsd, creditsUsd: made.creditsUsd, test: true }
    }
    case 'GET /billing/checkouts/*':
      return checkouts.get(path.split('/').at(-1)) ?? Promise.reject(fail(404, 'not_found', 'there is no such checkout'))
    case 'GET /oauth/grants':
      return { grants }
    case 'GET /channels':
      return { channels }
    default:
      if (known === `POST /keys/${keyId}/rotate`) return { ...keyView(key), key: `pryv_${key.id}${randomBytes(32).toString('base64url')}`, previousValidUntil: iso(now() + DAY) }
      throw fail(404, 'not_found', 'there is no such route')
  }
}

const WORDS = 'Of course. Here is a short answer that streams in, word by word, so that the page can be seen while it works:\n\n1. First this.\n2. Then that.\n\nThat is all there is to it.'.split(/(?<= )/)

async function chat(body, request, response) {
  const keyId = request.headers.authorization?.match(/pryv_([a-z0-9]{16})/)?.[1]
  response.writeHead(200, { 'content-type': 'text/event-stream', 'x-pii-redacted': body.privacyMode && body.privacyMode !== 'off' ? '1' : '0', 'x-request-id': randomUUID() })
  account.held += 20_000
  tellBalance()
  for (const word of WORDS) {
    response.write(`data: ${JSON.stringify({ choices: [{ index: 0, delta: { content: word } }] })}\n\n`)
    await wait(40)
  }
  account.held -= 20_000
  const prompt = Math.ceil(JSON.stringify(body.messages).length / 4)
  const entry = charge(body.model, keyId, prompt, WORDS.length, now())
  const spent = { prompt_tokens: prompt, completion_tokens: WORDS.length, total_tokens: prompt + WORDS.length, cost: Number(entry.amount) }
  response.write(`data: ${JSON.stringify({ choices: [], usage: spent })}\n\ndata: [DONE]\n\n`)
  response.end()
  tell('usage', { requestId: entry.requestId, service: body.model, key: keyId, costUsd: entry.amount, kind: 'usage', createdAt: entry.createdAt })
  tellBalance()
}

function preview(body) {
  const text = body.text ?? ''
  const found = [...text.matchAll(/[\w.]+@[\w.]+|\+?\d[\d ]{8,}\d/g)].map((match) => ({ type: match[0].includes('@') ? 'EMAIL_ADDRESS' : 'PHONE_NUMBER', start: match.index, end: match.index + match[0].length, score: 0.95, recognizer: 'pattern' }))
  let redacted = text
  for (const { start, end, type } of found.toReversed()) redacted = `${redacted.slice(0, start)}<${type}>${redacted.slice(end)}`
  charge('pii.preview', keys[0]?.id, 0, 0, now())
  tellBalance()
  return { object: 'pii.preview', model: 'fast', entities: found, counts: Object.fromEntries(Object.entries(Object.groupBy(found, ({ type }) => type)).map(([type, list]) => [type, list.length])), redactedText: redacted }
}
Object.groupBy ??= (list, by) => list.reduce((groups, one) => ({ ...groups, [by(one)]: [...(groups[by(one)] ?? []), one] }), {})

async function serve(request, response) {
  const url = new URL(request.url, `http://localhost:${port}`)
  const chunks = []
  for await (const chunk of request) chunks.push(chunk)
  const text = Buffer.concat(chunks).toString()
  const body = text ? JSON.parse(text) : {}
  const send = (status, value, headers = {}) => {
    response.writeHead(status, { 'content-type': 'application/json', 'x-request-id': randomUUID(), ...headers })
    response.end(value === undefined ? '' : JSON.stringify(value))
  }
  if (url.pathname === '/api/v1/events') {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    streams.add(response)
    request.on('close', () => streams.delete(response))
    return tellBalance()
  }
  if (url.pathname === '/api/v1/billing/ledger' && url.searchParams.get('format') === 'csv') return response.end('id\r\n')
  if (url.pathname.startsWith('/api/v1')) {
    const { cookie, ...answer } = (await route(request.method, url.pathname.slice(7), url.searchParams, body, request)) ?? {}
    const isNothing = Object.keys(answer).length === 0
    return send(isNothing ? 204 : 200, isNothing ? undefined : answer, cookie ? { 'set-cookie': `session=${cookie}; HttpOnly; SameSite=Strict; Path=/` } : {})
  }
  if (url.pathname === '/v1/chat/completions') return chat(body, request, response)
  if (url.pathname === '/v1/pii/preview') return send(200, preview(body))
  if (url.pathname === '/openapi-full.json') return send(200, JSON.parse(readFileSync(process.env.OPENAPI ?? join(import.meta.dirname, 'openapi.json'), 'utf8')))
  const asset = join(dist, url.pathname.replace(/^\/dashboard/, ''))
  const file = url.pathname.startsWith('/dashboard/assets/') && existsSync(asset) ? asset : join(dist, 'index.html')
  if (!url.pathname.startsWith('/dashboard')) return send(404, { error: { code: 'not_found', message: 'no such page' } })
  response.writeHead(200, { 'content-type': KINDS[extname(file)], 'content-security-policy': CSP, etag: createHash('sha256').update(file).digest('hex').slice(0, 16) })
  response.end(readFileSync(file))
}

createServer((request, response) => {
  serve(request, response).catch(({ status = 500, code = 'internal_error', message }) => {
    response.writeHead(status, { 'content-type': 'application/json', 'x-request-id': randomUUID() })
    response.end(JSON.stringify({ error: { code, message } }))
  })
}).listen(port, () => console.log(`the double is at http://localhost:${port}/dashboard`))

// The key with which the playground and the privacy check ask: made by the wallet's signature, for an hour and fifty cents,
// and kept in this page's memory alone.
import { store } from '../lib/store'
import { invalidate } from '../lib/query'
import { api, problem, program } from './client'
import { session } from './session'
import { signed } from './sign'
import type { Key } from './types'

export const LIMIT_USD = '0.50'
const HOUR_MS = 3_600_000

export interface SpendingKey {
  id: string
  text: string
  expiresAt: number
}

export const spendingKey = store<SpendingKey | null>(null)

session.subscribe(() => {
  if (session.get().state !== 'in') spendingKey.set(null)
})

/** The key at hand, or a new one, for which the wallet signs. */
export async function needKey(name: string, summary: string): Promise<SpendingKey> {
  const known = spendingKey.get()
  if (known && known.expiresAt > Date.now() + 5_000) return known
  const expiresAt = Date.now() + HOUR_MS
  const body = { name, limits: { totalUsd: LIMIT_USD }, expiresAt: new Date(expiresAt).toISOString() }
  const proof = await signed('create', '', body, summary)
  const made = await api<Key>('POST', '/keys', { body: { ...proof, ...body } })
  invalidate('keys')
  const key = { id: made.id, text: made.key ?? '', expiresAt }
  spendingKey.set(key)
  return key
}

/** Sends a request to /v1 as any program does: with the key, without the session. */
export async function askV1(key: SpendingKey, path: string, body: object, signal?: AbortSignal): Promise<Response> {
  const response = await program(`/v1${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key.text}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
    ...(signal ? { signal } : {}),
  })
  if (response.ok) return response
  const error = await problem(response)
  // Its budget is spent, or somebody revoked it: the next request makes another.
  if (['key_limit_reached', 'invalid_api_key', 'inactive_api_key'].includes(error.code)) spendingKey.set(null)
  throw error
}

/** Parts of a stream of server-sent events, as they arrive. */
export async function* events(response: Response): AsyncGenerator<{ event: string; data: string }> {
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader()
  if (!reader) return
  let rest = ''
  for (;;) {
    const { value, done } = await reader.read()
    rest += value ?? ''
    const blocks = rest.split(/\r?\n\r?\n/)
    rest = done ? '' : (blocks.pop() ?? '')
    for (const block of blocks) {
      const lines = block.split(/\r?\n/)
      const field = (name: string) => lines.filter((line) => line.startsWith(`${name}:`)).map((line) => line.slice(name.length + 1).replace(/^ /, ''))
      const data = field('data').join('\n')
      if (data) yield { event: field('event')[0] ?? 'message', data }
    }
    if (done) return
  }
}

// What is done to keys: by the session where it gives nothing away, with a signature where it does.
import { api, ApiError } from '../../api/client'
import { platform } from '../../api/session'
import { signed } from '../../api/sign'
import type { Key, Limits } from '../../api/types'
import { micros } from '../../lib/format'
import { invalidate } from '../../lib/query'
import { t } from './messages'

export interface Changes {
  name?: string
  limits?: Partial<Limits>
  expiresAt?: string | null
}

/** Leaves out limits that are not set: the server takes what is given as all limits. */
export function given(limits: Limits): Partial<Limits> {
  return Object.fromEntries(Object.entries(limits).filter(([, limit]) => limit !== null)) as Partial<Limits>
}

/** True when a limit is higher than before, or gone. A key without a rate of its own has the server's. */
export function raises(before: Key, changes: Changes): boolean {
  const usual = platform.get()?.keys
  const isHigher = (old: number | null | undefined, next: number | null | undefined) => old != null && (next == null || next > old)
  const { limits } = changes
  if (limits) {
    const old = before.limits
    const dollars = (text: string | null | undefined) => (text == null ? null : micros(text))
    if (isHigher(old.rpm ?? usual?.defaultRpm, limits.rpm ?? usual?.defaultRpm)) return true
    if (isHigher(old.tpm ?? usual?.defaultTpm, limits.tpm ?? usual?.defaultTpm)) return true
    if (isHigher(dollars(old.dailyUsd), dollars(limits.dailyUsd)) || isHigher(dollars(old.totalUsd), dollars(limits.totalUsd))) return true
    if (old.models && (!limits.models || limits.models.some((model) => !old.models?.includes(model)))) return true
  }
  const time = (text: string | null | undefined) => (text == null ? null : Date.parse(text))
  return changes.expiresAt !== undefined && isHigher(time(before.expiresAt), time(changes.expiresAt))
}

export async function createKey(body: Changes): Promise<Key> {
  const proof = await signed('create', '', body, t.toCreate(body.name ?? ''))
  const made = await api<Key>('POST', '/keys', { body: { ...proof, ...body } })
  invalidate('keys')
  return made
}

export async function updateKey(before: Key, changes: Changes): Promise<Key> {
  const path = `/keys/${before.id}`
  const bySignature = async () => {
    const proof = await signed('update', before.id, changes, t.toRaise(before.name))
    return api<Key>('PATCH', path, { body: { ...proof, ...changes } })
  }
  const change = async () => {
    if (raises(before, changes)) return bySignature()
    try {
      return await api<Key>('PATCH', path, { body: changes })
    } catch (error) {
      // The key was changed meanwhile, and this raises what it is now.
      if (error instanceof ApiError && error.code === 'missing_wallet_auth') return bySignature()
      throw error
    }
  }
  const after = await change()
  invalidate('keys')
  return after
}

export async function rotateKey({ id, name }: Key, graceSeconds: number): Promise<Key> {
  const body = { graceSeconds }
  const proof = await signed('rotate', id, body, t.toRotate(name))
  const rotated = await api<Key>('POST', `/keys/${id}/rotate`, { body: { ...proof, ...body } })
  invalidate('keys')
  return rotated
}

export async function revokeKey({ id }: Key): Promise<void> {
  await api('DELETE', `/keys/${id}`, { body: {} })
  invalidate('keys', 'grants')
}

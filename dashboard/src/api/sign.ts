// Messages that a wallet signs for an action, as docs/guides/wallet.md has them.
import { hex, sha256, utf8 } from '../lib/bytes'
import { store } from '../lib/store'

export type Action = 'create' | 'rotate' | 'update' | 'revoke'

export interface Proof {
  walletAddress: string
  message: string
  signature: string
}

export interface SignRequest {
  action: Action
  keyId: string
  body: object
  /** What is going to happen, in the reader's words. */
  summary: string
  resolve: (proof: Proof) => void
  reject: (error: Error) => void
}

/** The signature that is being asked for; the dialog shows its text before any wallet does. */
export const wanted = store<SignRequest | null>(null)

export class NotSigned extends Error {
  constructor() {
    super('nothing was signed')
    this.name = 'NotSigned'
  }
}

/** Canonical JSON (RFC 8785). */
export function canonicalJson(value: unknown): string {
  if (value === null || typeof value !== 'object') return JSON.stringify(value)
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`
  const members = Object.entries(value as Record<string, unknown>).filter(([, member]) => member !== undefined)
  const sorted = members.sort(([a], [b]) => (a < b ? -1 : 1))
  return `{${sorted.map(([name, member]) => `${JSON.stringify(name)}:${canonicalJson(member)}`).join(',')}}`
}

/** Makes a message that counts once, for five minutes, here, with this very body. */
export async function actionMessage(product: string, host: string, { action, keyId, body }: Pick<SignRequest, 'action' | 'keyId' | 'body'>): Promise<string> {
  const digest = hex(await sha256(utf8(canonicalJson(body))))
  return (
    `${product} API key mgmt | action=${action} | keyId=${keyId} | nonce=${crypto.randomUUID()}` +
    ` | ts=${new Date().toISOString()} | host=${host} | body=${digest}`
  )
}

/** Asks the person to sign for an action. */
export function signed(action: Action, keyId: string, body: object, summary: string): Promise<Proof> {
  return new Promise((resolve, reject) => wanted.set({ action, keyId, body, summary, resolve, reject }))
}

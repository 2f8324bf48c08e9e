// Who is signed in, and with which wallet. The session itself is a cookie that scripts cannot read.
import { store } from '../lib/store'
import { forget } from '../lib/query'
import { remember, stored } from '../lib/stored'
import { api, get, onRefused, setApiOrigin } from './client'
import type { ExtensionWallet } from './wallets'
import { accounts, personalSign, wallets } from './wallets'
import type { Platform, Session } from './types'
import type { Passkey } from './passkey'

export type SessionState = { state: 'loading' } | { state: 'failed'; error: Error } | { state: 'out'; ended: boolean } | { state: 'in'; session: Session }

export const session = store<SessionState>({ state: 'loading' })
export const platform = store<Platform | null>(null)

/** What the person signs with: an extension by its name, or a passkey. */
export type Signer = { kind: 'extension'; wallet: ExtensionWallet } | { kind: 'passkey'; passkey: Passkey }

const STORED = 'wallet'

export class WrongAccount extends Error {
  constructor(readonly offered: string) {
    super('the wallet offers another account')
  }
}

let asking = false

/** Some refusals mean that a signature is wanted, others that nobody is signed in any more. */
onRefused(() => {
  if (asking || session.get().state !== 'in') return
  asking = true
  get<{ session: Session | null }>('/auth/session')
    .then(({ session: found }) => {
      if (!found) endLocally(true)
    })
    .catch(() => {})
    .finally(() => {
      asking = false
    })
})

/** Reads who is signed in and what the server offers. */
export async function begin(): Promise<void> {
  try {
    const [{ session: found }, offered] = await Promise.all([
      get<{ session: Session | null }>('/auth/session'),
      get<Platform>('/platform'),
    ])
    platform.set(offered)
    setApiOrigin(offered.urls.api)
    session.set(found ? { state: 'in', session: found } : { state: 'out', ended: false })
  } catch (error) {
    session.set({ state: 'failed', error: error as Error })
  }
}

export async function signOut(): Promise<void> {
  await api('POST', '/auth/logout', { body: {} })
  endLocally(false)
}

/** Forgets what belonged to the session. */
export function endLocally(ended: boolean): void {
  if (session.get().state !== 'in') return
  forget()
  session.set({ state: 'out', ended })
}

async function finish(address: string, message: string, signature: string, signer: string): Promise<void> {
  const { session: made } = await api<{ session: Session }>('POST', '/auth', { body: { address, message, signature } })
  remember(STORED, signer)
  forget()
  session.set({ state: 'in', session: made })
}

export function challenge(address: string): Promise<{ message: string }> {
  return api('POST', '/auth/challenge', { body: { address } })
}

export async function signInWith(wallet: ExtensionWallet): Promise<void> {
  const [address] = await accounts(wallet)
  if (!address) throw new Error('the wallet offers no account')
  const { message } = await challenge(address)
  await finish(address, message, await personalSign(wallet, address, message), wallet.info.rdns)
}

const NOBODY = `0x${'0'.repeat(40)}`

/** Signs in with a passkey of this site: the one used last, or one that the person chooses. */
export async function signInWithPasskey(known?: Passkey, choose = false): Promise<void> {
  const code = await import('./passkey')
  const last = known ?? (choose ? null : code.lastPasskey())
  // Which wallet it is shows once the passkey was chosen, so the challenge names nobody until then.
  const { message } = await challenge(last?.address ?? NOBODY)
  const assertion = await code.assertPasskey(message, last?.credentialId)
  const passkey = last ?? (await code.findPasskey(assertion.credentialId))
  if (!passkey) throw new UnknownPasskey()
  await finish(passkey.address, message, code.envelope(assertion, passkey.publicKey), 'passkey')
  code.rememberPasskey(passkey)
}

export class UnknownPasskey extends Error {}

/** Makes a passkey, signs in with it, and lets the server keep its public key for other browsers. */
export async function signInWithNewPasskey(label: string): Promise<void> {
  const code = await import('./passkey')
  const passkey = await code.createPasskey(platform.get()?.product.name ?? location.hostname, label)
  code.rememberPasskey(passkey)
  await signInWithPasskey(passkey)
  const body = { publicKey: passkey.publicKey, label }
  await api('PUT', `/passkeys/${encodeURIComponent(passkey.credentialId)}`, { body })
}

/** The wallet that this session signed in with, where it is still there. */
export async function lastSigner(owner: string): Promise<Signer | null> {
  const kept = stored(STORED)
  if (kept === 'passkey') {
    const passkey = (await import('./passkey')).lastPasskey()
    return passkey?.address === owner.toLowerCase() ? { kind: 'passkey', passkey } : null
  }
  const wallet = wallets.get().find(({ info }) => info.rdns === kept)
  return wallet ? { kind: 'extension', wallet } : null
}

/** Makes sure that an extension's account is the one that is signed in. */
export async function ownAccount(wallet: ExtensionWallet, owner: string): Promise<string> {
  const offered = await accounts(wallet)
  const own = offered.find((account) => account.toLowerCase() === owner.toLowerCase())
  if (!own) throw new WrongAccount(offered[0] ?? '')
  return own
}

/** Has the owner's wallet sign a message. */
export async function signMessage(signer: Signer, owner: string, message: string): Promise<string> {
  if (signer.kind === 'passkey') return (await import('./passkey')).signWithPasskey(signer.passkey, message)
  return personalSign(signer.wallet, await ownAccount(signer.wallet, owner), message)
}

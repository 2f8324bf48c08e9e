// Wallets that are passkeys of this site: their address derives from the public key, their signatures travel in Tempo's
// envelope (0x02, authenticator data, client data, r, s, x, y), which the server verifies without a chain.
import { keccak_256 } from '@noble/hashes/sha3.js'
import { concat, fromBase64, fromHex, hex, utf8 } from '../lib/bytes'
import { remember, stored } from '../lib/stored'
import { ApiError, get } from './client'

export interface Passkey {
  credentialId: string
  /** `0x04`, x and y. */
  publicKey: string
  address: string
}

const STORED = 'passkey'
const ES256 = -7
/** The order of P-256: of the two spellings of a signature the one with the lower `s` counts. */
const ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n

/** The passkey that this browser used last. Its id and public key are no secrets. */
export function lastPasskey(): Passkey | null {
  try {
    const kept = JSON.parse(stored(STORED) ?? 'null') as Passkey | null
    return kept && typeof kept.credentialId === 'string' && addressOf(fromHex(kept.publicKey)) === kept.address ? kept : null
  } catch {
    return null
  }
}

export function rememberPasskey(passkey: Passkey | null): void {
  remember(STORED, passkey && JSON.stringify(passkey))
}

export function addressOf(point: Uint8Array): string {
  return `0x${hex(keccak_256(point.slice(1)).slice(12))}`
}

/** The hash that a wallet signs of a message (EIP-191). */
export function messageHash(message: string): Uint8Array<ArrayBuffer> {
  const bytes = utf8(message)
  return concat(keccak_256(concat(utf8(`\x19Ethereum Signed Message:\n${bytes.length}`), bytes)))
}

/** Makes a passkey; the browser asks for it. */
export async function createPasskey(product: string, label: string): Promise<Passkey> {
  const credential = (await navigator.credentials.create({
    publicKey: {
      rp: { name: product },
      user: { id: crypto.getRandomValues(new Uint8Array(16)), name: label, displayName: label },
      challenge: crypto.getRandomValues(new Uint8Array(32)),
      pubKeyCredParams: [{ type: 'public-key', alg: ES256 }],
      authenticatorSelection: { residentKey: 'required', requireResidentKey: true, userVerification: 'preferred' },
    },
  })) as PublicKeyCredential | null
  const spki = (credential?.response as AuthenticatorAttestationResponse | undefined)?.getPublicKey()
  if (!credential || !spki) throw new Error('the browser made no P-256 key')
  const point = new Uint8Array(spki).slice(-65)
  if (point[0] !== 4) throw new Error('the passkey is no P-256 key')
  return { credentialId: credential.id, publicKey: `0x${hex(point)}`, address: addressOf(point) }
}

export interface Assertion {
  credentialId: string
  /** The envelope without the public key. */
  signed: Uint8Array
}

/** Has a passkey sign the hash of a message: that one, or whichever the person chooses. */
export async function assertPasskey(message: string, credentialId?: string): Promise<Assertion> {
  const credential = (await navigator.credentials.get({
    publicKey: {
      challenge: messageHash(message),
      userVerification: 'preferred',
      allowCredentials: credentialId ? [{ type: 'public-key', id: fromBase64(credentialId) }] : [],
    },
  })) as PublicKeyCredential | null
  if (!credential) throw new Error('the browser gave no passkey')
  const response = credential.response as AuthenticatorAssertionResponse
  const [r, s] = fromDer(new Uint8Array(response.signature))
  const signed = concat(
    Uint8Array.of(2),
    new Uint8Array(response.authenticatorData),
    new Uint8Array(response.clientDataJSON),
    r,
    s,
  )
  return { credentialId: credential.id, signed }
}

/** The signature as the server reads it. */
export function envelope(assertion: Assertion, publicKey: string): string {
  return `0x${hex(assertion.signed)}${publicKey.slice(4)}`
}

/** Looks up a passkey that was made in another browser. */
export async function findPasskey(credentialId: string): Promise<Passkey | null> {
  const kept = lastPasskey()
  if (kept?.credentialId === credentialId) return kept
  try {
    return await get<Passkey>(`/passkeys/${encodeURIComponent(credentialId)}`)
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return null
    throw error
  }
}

export async function signWithPasskey(passkey: Passkey, message: string): Promise<string> {
  return envelope(await assertPasskey(message, passkey.credentialId), passkey.publicKey)
}

/** Reads `r` and `s`, 32 bytes each, of a signature in DER. */
export function fromDer(der: Uint8Array): [Uint8Array, Uint8Array] {
  const number = (at: number): [Uint8Array, number] => {
    const length = der[at + 1] ?? 0
    const digits = der.slice(at + 2, at + 2 + length)
    const bare = digits.slice(Math.max(0, digits.length - 32))
    return [concat(new Uint8Array(32 - bare.length), bare), at + 2 + length]
  }
  const [r, next] = number(2)
  const [s] = number(next)
  const value = BigInt(`0x${hex(s)}`)
  return [r, value > ORDER / 2n ? fromHex((ORDER - value).toString(16).padStart(64, '0')) : s]
}

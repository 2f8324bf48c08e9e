// Wallets that browser extensions announce (EIP-6963), spoken to directly (EIP-1193).
import { store } from '../lib/store'
import { hex, utf8 } from '../lib/bytes'

export interface Provider {
  request(call: { method: string; params?: unknown[] }): Promise<unknown>
}

export interface ExtensionWallet {
  info: { uuid: string; name: string; icon: string; rdns: string }
  provider: Provider
}

export const wallets = store<ExtensionWallet[]>([])

addEventListener('eip6963:announceProvider', (event) => {
  const detail = (event as CustomEvent<ExtensionWallet | null>).detail
  if (!detail?.provider || !detail.info?.uuid) return
  wallets.set((known) => (known.some(({ info }) => info.uuid === detail.info.uuid) ? known : [...known, detail]))
})

/** Asks every wallet to announce itself; one that was installed meanwhile does so by itself. */
export function lookForWallets(): void {
  dispatchEvent(new Event('eip6963:requestProvider'))
}

/** The icon of a wallet, where it is a picture within its announcement; others would be fetched from elsewhere. */
export function icon({ info }: ExtensionWallet): string | undefined {
  return /^data:image\//.test(info.icon) ? info.icon : undefined
}

/** True when the person said no (EIP-1193, and what passkey prompts throw). */
export function isRefusal(error: unknown): boolean {
  const { code, name } = (error ?? {}) as { code?: unknown; name?: unknown }
  return code === 4001 || code === 'ACTION_REJECTED' || name === 'NotAllowedError' || name === 'AbortError'
}

/** Asks a wallet for its accounts, which may open its window. */
export async function accounts(wallet: ExtensionWallet): Promise<string[]> {
  const list = (await wallet.provider.request({ method: 'eth_requestAccounts' })) as unknown
  return Array.isArray(list) ? list.filter((item): item is string => typeof item === 'string') : []
}

export async function personalSign(wallet: ExtensionWallet, address: string, message: string): Promise<string> {
  return (await wallet.provider.request({ method: 'personal_sign', params: [`0x${hex(utf8(message))}`, address] })) as string
}

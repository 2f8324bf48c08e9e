// Purchases from the contract: a key that this browser makes, or credit, paid by the wallet itself. The server is not asked;
// it reads the purchase from the chain.
import { base64url, concat, fromHex, hex, sha256, utf8 } from '../lib/bytes'
import { ownAccount } from './session'
import type { ExtensionWallet, Provider } from './wallets'
import type { Platform } from './types'

/** First four bytes of the hashes of the functions' signatures. */
const APPROVE = '0x095ea7b3' // approve(address,uint256)
const BUY = '0x0ddeb632' // buy(bytes32,uint256)
const TOP_UP = '0xd6f7ddf9' // topUp(address,uint256)
const PRICE_OF = '0xb9186d7d' // priceOf(uint256)

const RECEIPT_MS = 120_000
const LOOK_MS = 1_000
const UNKNOWN_CHAIN = 4902

export interface NewKey {
  id: string
  /** The whole key. It stays in this page. */
  text: string
  hash: string
}

/** Makes a key whose id follows from its hash and its owner. */
export async function makeKey(prefix: string, owner: string): Promise<NewKey> {
  const secret = base64url(crypto.getRandomValues(new Uint8Array(32)))
  const hash = await sha256(utf8(secret))
  const digest = await sha256(concat(hash, fromHex(owner)))
  const id = Array.from(digest.slice(0, 16), (byte) => 'abcdefghijklmnopqrstuvwxyz0123456789'[byte % 36]).join('')
  return { id, text: `${prefix}${id}${secret}`, hash: hex(hash) }
}

export type Step = 'chain' | 'approve' | 'pay' | 'mined'

export class PurchaseProblem extends Error {
  constructor(
    readonly reason: 'chain' | 'reverted' | 'slow' | 'price',
    message = '',
  ) {
    super(message)
  }
}

const word = (value: string | bigint): string => (typeof value === 'bigint' ? value.toString(16) : value.replace(/^0x/, '')).padStart(64, '0')

async function useChain(provider: Provider, id: number): Promise<void> {
  const chainId = `0x${id.toString(16)}`
  if ((await provider.request({ method: 'eth_chainId' })) === chainId) return
  try {
    await provider.request({ method: 'wallet_switchEthereumChain', params: [{ chainId }] })
  } catch (error) {
    if ((error as { code?: number }).code === UNKNOWN_CHAIN) throw new PurchaseProblem('chain', String(id))
    throw error
  }
}

async function mined(provider: Provider, hash: string): Promise<void> {
  const deadline = Date.now() + RECEIPT_MS
  for (;;) {
    const receipt = (await provider.request({ method: 'eth_getTransactionReceipt', params: [hash] })) as { status?: string } | null
    if (receipt) {
      if (receipt.status === '0x1') return
      throw new PurchaseProblem('reverted', hash)
    }
    if (Date.now() > deadline) throw new PurchaseProblem('slow', hash)
    await new Promise((done) => setTimeout(done, LOOK_MS))
  }
}

export interface Purchase {
  wallet: ExtensionWallet
  owner: string
  platform: Platform
  /** Millionths of a dollar, which are the token's units. */
  price: bigint
  goods: { key: NewKey; pack: number } | 'credit'
  onStep: (step: Step) => void
}

/** Approves exactly the price and buys, in two transactions of the wallet. Returns the hash of the second. */
export async function buy({ wallet, owner, platform, price, goods, onStep }: Purchase): Promise<string> {
  const sale = platform.keySale?.address ?? ''
  const { provider } = wallet
  const from = await ownAccount(wallet, owner)
  onStep('chain')
  await useChain(provider, platform.chain.id)
  if (goods !== 'credit') {
    const call = { to: sale, data: PRICE_OF + word(BigInt(goods.pack)) }
    const asked = BigInt((await provider.request({ method: 'eth_call', params: [call, 'latest'] })) as string)
    if (asked !== price) throw new PurchaseProblem('price', asked.toString())
  }
  const send = async (to: string, data: string) => {
    const hash = (await provider.request({ method: 'eth_sendTransaction', params: [{ from, to, data, value: '0x0' }] })) as string
    await mined(provider, hash)
    return hash
  }
  onStep('approve')
  await send(platform.chain.currency, APPROVE + word(sale) + word(price))
  onStep('pay')
  const data = goods === 'credit' ? TOP_UP + word(owner) + word(price) : BUY + word(goods.key.hash) + word(BigInt(goods.pack))
  const hash = await send(sale, data)
  onStep('mined')
  return hash
}

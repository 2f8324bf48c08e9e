// A purchase from the contract, step by step, until the server has read it.
import { useEffect, useState } from 'preact/hooks'
import { useBalance, useKeys } from '../../api/reads'
import { buy, makeKey, PurchaseProblem, type NewKey, type Step } from '../../api/purchase'
import { lastSigner, platform, WrongAccount } from '../../api/session'
import { isRefusal, wallets, type ExtensionWallet } from '../../api/wallets'
import { micros, money } from '../../lib/format'
import { invalidate } from '../../lib/query'
import { useStore } from '../../lib/store'
import { Button, Copy, explain, Note } from '../../ui/basic'
import { Dialog } from '../../ui/dialog'
import { Icon } from '../../ui/icon'
import { t } from './messages'

export interface ChainOrder {
  owner: string
  price: number
  /** The contract's number of the pack that buys a key; without it credit is bought. */
  pack: number | null
}

const STEPS: Step[] = ['chain', 'approve', 'pay', 'mined']
const LOOK_MS = 1_500
const SLOW_MS = 60_000

function say(error: unknown): string {
  if (error instanceof PurchaseProblem) {
    if (error.reason === 'chain') return t.problemChain(error.message)
    if (error.reason === 'price') return t.problemPrice(money(Number(error.message)))
    return error.reason === 'reverted' ? t.problemReverted : t.problemSlow
  }
  if (error instanceof WrongAccount) return t.wrongAccount
  return isRefusal(error) ? t.refused : explain(error)
}

export function ChainDialog({ order, onClose }: { order: ChainOrder; onClose: () => void }) {
  const offered = useStore(platform)
  const found = useStore(wallets)
  const balance = useBalance()
  const keys = useKeys()
  const [wallet, setWallet] = useState<ExtensionWallet | undefined>(undefined)
  const [key, setKey] = useState<NewKey | null>(null)
  const [isCopied, setIsCopied] = useState(order.pack === null)
  const [step, setStep] = useState<Step | null>(null)
  const [said, setSaid] = useState<string | null>(null)
  const [isSlow, setIsSlow] = useState(false)
  const [before] = useState(() => micros(balance.data?.credited))

  useEffect(() => {
    void lastSigner(order.owner).then((signer) => setWallet(signer?.kind === 'extension' ? signer.wallet : found[0]))
    if (order.pack !== null) void makeKey(offered?.keys.prefix ?? '', order.owner).then(setKey)
  }, [])

  const isRead = step === 'mined' && (key ? (keys.data?.some(({ id }) => id === key.id) ?? false) : micros(balance.data?.credited) >= before + order.price)
  useEffect(() => {
    if (step !== 'mined' || isRead) return undefined
    const look = setInterval(() => invalidate('balance', 'keys', 'ledger'), LOOK_MS)
    const slow = setTimeout(() => setIsSlow(true), SLOW_MS)
    return () => {
      clearInterval(look)
      clearTimeout(slow)
    }
  }, [step, isRead])

  const pay = async () => {
    if (!wallet || !offered) return
    setSaid(null)
    setStep('chain')
    try {
      const goods = key && order.pack !== null ? { key, pack: order.pack } : ('credit' as const)
      await buy({ wallet, owner: order.owner, platform: offered, price: BigInt(order.price), goods, onStep: setStep })
    } catch (error) {
      setSaid(say(error))
      setStep(null)
    }
  }
  const names = { chain: t.stepChain, approve: t.stepApprove, pay: t.stepPay, mined: t.stepRead }
  const at = step ? STEPS.indexOf(step) : -1
  const isBusy = step !== null && !isRead
  return (
    <Dialog title={t.chainTitle} onClose={onClose} keep={isBusy && !isSlow && step !== 'mined'}>
      {order.pack !== null && (
        <div class="stack tight">
          <p class="muted">{t.keyFirst}</p>
          <p class="secret" data-secret>
            {key?.text ?? '…'}
          </p>
          <div class="actions">
            <Copy text={key?.text ?? ''} what={t.theKey} label={t.copyKey} look={isCopied ? 'plain' : 'primary'} onCopy={() => setIsCopied(true)} />
          </div>
        </div>
      )}
      <ol class="steps">
        {STEPS.map((name, index) => {
          const isDone = index < at || isRead
          return (
            <li key={name}>
              <span class={`step-mark${isDone ? ' done' : ''}`}>{isDone ? <Icon name="check" /> : index === at ? <span class="spinner" /> : index + 1}</span>
              <div>{names[name]}</div>
            </li>
          )
        })}
      </ol>
      <div role="status" class="stack tight">
        {step === 'mined' && !isRead && <p>{isSlow ? t.slow : t.pending}</p>}
        {isRead && (
          <Note tone="good" title={t.credited2(money(order.price))}>
            {key && t.keyWorks}
          </Note>
        )}
      </div>
      {said && <Note tone="bad">{said}</Note>}
      <div class="actions end">
        {isRead ? (
          <Button look="primary" onClick={onClose}>
            {t.close}
          </Button>
        ) : (
          step !== 'mined' && (
            <Button look={isCopied ? 'primary' : 'plain'} icon="wallet" busy={isBusy} disabled={!isCopied || !wallet} onClick={() => void pay()}>
              {t.payNow(money(order.price))}
            </Button>
          )
        )}
      </div>
    </Dialog>
  )
}

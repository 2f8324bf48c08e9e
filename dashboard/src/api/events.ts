// News of the server while the dashboard is open (server-sent events): balances, charged requests, keys, checkouts.
import { store } from '../lib/store'
import { amend, invalidate } from '../lib/query'
import { endLocally, session } from './session'
import type { Balance, LiveBalance, LiveUsage } from './types'

/** The latest charged requests since the page was opened, the newest first. */
export const recent = store<LiveUsage[]>([])
/** False while news does not arrive, and pages read again by themselves instead. */
export const live = store(false)

const KEPT = 20
const READ_AGAIN_MS = 15_000

let source: EventSource | null = null
let timer: ReturnType<typeof setInterval> | undefined

const data = <T>(event: Event): T => JSON.parse((event as MessageEvent<string>).data) as T

let usageTimer: ReturnType<typeof setTimeout> | undefined
/** Many requests in a second are one reason to read sums again. */
function readSumsSoon(): void {
  usageTimer ??= setTimeout(() => {
    usageTimer = undefined
    invalidate('usage', 'ledger', 'keys')
  }, 700)
}

function open(): void {
  if (source) return
  source = new EventSource('/api/v1/events')
  source.addEventListener('open', () => {
    live.set(true)
    clearInterval(timer)
    timer = undefined
  })
  source.addEventListener('balance', (event) => {
    const now = data<LiveBalance>(event)
    amend<Balance>('balance', (before) => {
      if (before.credited !== now.creditedUsd) setTimeout(() => invalidate('balance', 'ledger'), 0)
      return { ...before, available: now.availableUsd, held: now.heldUsd, spent: now.spentUsd, credited: now.creditedUsd }
    })
  })
  source.addEventListener('usage', (event) => {
    recent.set((before) => [data<LiveUsage>(event), ...before].slice(0, KEPT))
    readSumsSoon()
  })
  source.addEventListener('key', () => invalidate('keys', 'grants'))
  source.addEventListener('checkout', () => invalidate('checkout', 'balance', 'ledger'))
  source.addEventListener('end', () => endLocally(true))
  source.addEventListener('error', () => {
    live.set(false)
    // A browser gives up where the answer is no stream of events.
    if (source?.readyState === EventSource.CLOSED) source = null
    timer ??= setInterval(() => {
      if (document.hidden) return
      invalidate('balance', 'ledger', 'checkout')
      open()
    }, READ_AGAIN_MS)
  })
}

function close(): void {
  source?.close()
  source = null
  clearInterval(timer)
  timer = undefined
  live.set(false)
  recent.set([])
}

/** Listens for as long as somebody is signed in. */
export function listen(): void {
  const follow = () => (session.get().state === 'in' ? open() : close())
  session.subscribe(follow)
  follow()
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden && !live.get() && session.get().state === 'in') invalidate('balance', 'ledger', 'usage', 'keys')
  })
}

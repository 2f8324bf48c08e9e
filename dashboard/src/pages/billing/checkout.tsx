// The payment page that was opened last: waiting for it, and what came of it.
import { useEffect, useState } from 'preact/hooks'
import { get } from '../../api/client'
import { useBalance } from '../../api/reads'
import type { Checkout, CheckoutPage } from '../../api/types'
import { micros, money } from '../../lib/format'
import { invalidate, useQuery } from '../../lib/query'
import { setQuery, useAddress } from '../../lib/router'
import { Button, ButtonLink, Note } from '../../ui/basic'
import { t } from './messages'

const KEPT = 'checkout'
const LOOK_MS = 3_000

type Kept = Pick<CheckoutPage, 'checkoutId' | 'url'>

/** Remembers the page until this tab is closed, so that whoever comes back sees what became of it. */
export function keepCheckout({ checkoutId, url }: CheckoutPage): void {
  sessionStorage.setItem(KEPT, JSON.stringify({ checkoutId, url }))
}

function kept(): Kept | null {
  try {
    return JSON.parse(sessionStorage.getItem(KEPT) ?? 'null') as Kept | null
  } catch {
    return null
  }
}

export function CheckoutNote() {
  const { query } = useAddress()
  const [known, setKnown] = useState(kept)
  const id = query.get('checkout') ?? known?.checkoutId ?? null
  const read = useQuery(id && `checkout:${id}`, () => get<Checkout>(`/billing/checkouts/${encodeURIComponent(id ?? '')}`))
  const balance = useBalance()
  const state = read.data?.state
  useEffect(() => {
    if (state !== 'open') return undefined
    const timer = setInterval(() => invalidate(`checkout:${id}`), LOOK_MS)
    return () => clearInterval(timer)
  }, [state, id])
  useEffect(() => {
    if (state === 'paid') invalidate('balance', 'ledger')
  }, [state])
  const hide = () => {
    sessionStorage.removeItem(KEPT)
    setKnown(null)
    setQuery({ checkout: null })
  }
  if (!id || !read.data) return null
  const dismiss = (
    <Button look="quiet" small onClick={hide}>
      {t.dismiss}
    </Button>
  )
  // A page that was opened before in this browser; that of others is none to send people to.
  const url = known?.checkoutId === id ? known.url : null
  switch (read.data.state) {
    case 'open':
      return (
        <Note
          icon="clock"
          title={t.waiting}
          action={
            <span class="actions">
              {url && <ButtonLink href={url}>{t.resume}</ButtonLink>}
              {dismiss}
            </span>
          }
        >
          <p class="muted" role="status">
            {t.waitingHint}
          </p>
        </Note>
      )
    case 'paid':
      return (
        <Note
          tone="good"
          title={<span role="status">{t.paid(money(micros(read.data.creditsUsd)))}</span>}
          action={
            <span class="actions">
              <ButtonLink href="/dashboard/keys?new">{t.nextKey}</ButtonLink>
              <ButtonLink href="/dashboard/playground">{t.nextTry}</ButtonLink>
              {dismiss}
            </span>
          }
        >
          {balance.data && <p class="muted">{t.paidHint(money(micros(balance.data.available)))}</p>}
        </Note>
      )
    case 'expired':
    case 'refunded':
    case 'disputed':
      return (
        <Note tone={read.data.state === 'disputed' ? 'warn' : 'info'} action={dismiss}>
          {t[read.data.state]}
        </Note>
      )
  }
}

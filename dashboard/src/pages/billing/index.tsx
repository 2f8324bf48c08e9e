import { get } from '../../api/client'
import { useBalance } from '../../api/reads'
import { micros, money } from '../../lib/format'
import { useQuery } from '../../lib/query'
import { Amount, Card, Note, Page, Problem } from '../../ui/basic'
import type { CreditPacks } from '../../api/types'
import { Buy } from './buy'
import { CheckoutNote } from './checkout'
import { Payments } from './payments'
import { t } from './messages'

export default function Billing() {
  const balance = useBalance()
  const packs = useQuery('packs', () => get<CreditPacks>('/billing/credit-packs'))
  const debt = micros(balance.data?.debt)
  const figure = (label: string, value: string | undefined, hint: string, large = false) => (
    <div class={`figure${large ? ' large' : ''}`}>
      <p class="label">{label}</p>
      <p class="value">{balance.data ? <Amount value={value ?? '0'} rounded /> : <span class="skeleton block figure-wait" />}</p>
      {hint && <p class="muted small">{hint}</p>}
    </div>
  )
  return (
    <Page title={t.title} hint={t.hint}>
      <CheckoutNote />
      {debt > 0 && (
        <Note tone="warn" title={t.debt(money(debt))}>
          {t.debtHint}
        </Note>
      )}
      <div class="grid wide-first">
        <Buy packs={packs} />
        <Card>
          {balance.error && !balance.data ? (
            <Problem error={balance.error} retry={balance.reload} />
          ) : (
            <>
              {figure(t.available, balance.data?.available, '', true)}
              <div class="divided stack">
                {figure(t.held, balance.data?.held, t.heldHint)}
                {figure(t.spent, balance.data?.spent, '')}
                {figure(t.credited, balance.data?.credited, '')}
              </div>
            </>
          )}
        </Card>
      </div>
      <Payments />
    </Page>
  )
}

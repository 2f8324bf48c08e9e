import { useId, useState } from 'preact/hooks'
import { api } from '../../api/client'
import { platform, session } from '../../api/session'
import type { CheckoutPage, CreditPacks } from '../../api/types'
import { wallets } from '../../api/wallets'
import { micros, money } from '../../lib/format'
import type { Query } from '../../lib/query'
import { useStore } from '../../lib/store'
import { Button, Card, Note, Problem, Skeleton } from '../../ui/basic'
import { Input, Segments } from '../../ui/form'
import { ChainDialog, type ChainOrder } from './chain'
import { keepCheckout } from './checkout'
import { t } from './messages'

export function Buy({ packs }: { packs: Query<CreditPacks> }) {
  return (
    <Card title={t.buy}>
      {packs.data ? <Order packs={packs.data} /> : packs.error ? <Problem error={packs.error} retry={packs.reload} /> : <Skeleton height={280} />}
    </Card>
  )
}

const ANOTHER = ' another'

function Order({ packs: sold }: { packs: CreditPacks }) {
  const offered = useStore(platform)
  const found = useStore(wallets)
  const state = useStore(session)
  const group = useId()
  const byCard = sold.cardPayments
  const byChain = !!offered?.keySale
  const [chosen, setChosen] = useState(sold.packs[0]?.id ?? ANOTHER)
  const [amount, setAmount] = useState('25')
  const [way, setWay] = useState<'card' | 'chain'>(byCard ? 'card' : 'chain')
  const [goods, setGoods] = useState<'credit' | 'key'>('key')
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState<unknown>(null)
  const [order, setOrder] = useState<ChainOrder | null>(null)
  if (!byCard && !byChain) return <Note>{t.noWays}</Note>

  const [least, most] = [money(micros(sold.minUsdAmount)), money(micros(sold.maxUsdAmount))]
  const pack = sold.packs.find(({ id }) => id === chosen)
  const typed = amount.trim().replace(',', '.')
  const price = pack ? micros(pack.priceUsd) : micros(/^\d+(\.\d{1,2})?$/.test(typed) ? typed : '0')
  const isWrong = !pack && (price < micros(sold.minUsdAmount) || price > micros(sold.maxUsdAmount))

  const toCard = async () => {
    setBusy(true)
    setError(null)
    try {
      const body = pack ? { packId: pack.id } : { usdAmount: typed }
      // The same order twice, by an impatient click or a lost answer, is one page.
      const page = await api<CheckoutPage>('POST', '/billing/checkout', { body, headers: { 'idempotency-key': crypto.randomUUID() } })
      keepCheckout(page)
      location.assign(page.url)
    } catch (failure) {
      setError(failure)
      setBusy(false)
    }
  }
  const owner = state.state === 'in' ? state.session.wallet : ''
  const isKey = way === 'chain' && goods === 'key' && !!pack
  return (
    <>
      <fieldset class="choices">
        <legend class="unseen">{t.pack}</legend>
        {[...sold.packs.map(({ id, name, priceUsd, creditsUsd }) => ({ id, name, price: money(micros(priceUsd)), hint: t.gives(money(micros(creditsUsd))) })), { id: ANOTHER, name: t.amount, price: '', hint: t.range(least, most) }].map((one) => (
          <label key={one.id} class={`choice${chosen === one.id ? ' chosen' : ''}`}>
            <input type="radio" class="unseen" name={group} checked={chosen === one.id} onChange={() => setChosen(one.id)} />
            <span class="muted small">{one.name}</span>
            {one.price && <span class="price">{one.price}</span>}
            <span class="muted small">{one.hint}</span>
          </label>
        ))}
      </fieldset>
      {!pack && <Input label={t.amountLabel} before="$" inputMode="decimal" value={amount} onText={setAmount} error={isWrong ? t.wrongAmount(least, most) : undefined} />}
      {byCard && byChain && (
        <Segments
          label={t.how}
          value={way}
          onChoose={setWay}
          options={[
            ['card', offered?.cardsAreATest ? t.test : t.card],
            ['chain', t.chain],
          ]}
        />
      )}
      {way === 'card' ? (
        <p class="muted small">{offered?.cardsAreATest ? t.testHint : t.cardHint}</p>
      ) : (
        <>
          <p class="muted small">{t.chainHint}</p>
          {pack && (
            <>
              <Segments
                label={t.what}
                value={goods}
                onChoose={setGoods}
                options={[
                  ['key', t.withKey],
                  ['credit', t.onlyCredit],
                ]}
              />
              {goods === 'key' && <p class="muted small">{t.keyHint}</p>}
            </>
          )}
          {found.length === 0 && <Note tone="warn">{t.passkeyChain}</Note>}
        </>
      )}
      {error !== null && <Problem error={error} />}
      <div class="actions">
        {way === 'card' ? (
          <Button look="primary" busy={busy} disabled={isWrong} onClick={() => void toCard()}>
            {t.toCheckout(money(price))}
          </Button>
        ) : (
          <Button
            look="primary"
            icon={isKey ? 'key' : 'wallet'}
            disabled={isWrong || found.length === 0}
            onClick={() => setOrder({ owner, price, pack: isKey ? sold.packs.findIndex(({ id }) => id === chosen) + 1 : null })}
          >
            {isKey ? t.makeKey : t.payNow(money(price))}
          </Button>
        )}
      </div>
      {order && <ChainDialog order={order} onClose={() => setOrder(null)} />}
    </>
  )
}

// One request and its bill: each item with its tokens and its price, so that the reader can compute it again.
import { get, query } from '../../api/client'
import { keyNames, useKeys } from '../../api/reads'
import { platform } from '../../api/session'
import type { BillItem, Entry, Statement } from '../../api/types'
import { count, micros, money } from '../../lib/format'
import { useQuery } from '../../lib/query'
import { useStore } from '../../lib/store'
import { Amount, ButtonLink, Card, Empty, Id, Page, Problem, Skeleton, Time } from '../../ui/basic'
import { Code } from '../../ui/code'
import { EntryKindCell, itemName } from '../../ui/entries'
import { t } from './messages'

export function RequestPage({ id }: { id: string }) {
  const read = useQuery(`ledger:request:${id}`, () => get<Statement>(`/billing/ledger${query({ requestId: id, limit: 20 })}`))
  const names = keyNames(useKeys().data)
  // A server that does not know the filter answers with other lines.
  const entries = read.data?.entries.filter(({ requestId }) => requestId === id)
  const back = (
    <a class="row small" href="/dashboard/usage">
      ← {t.back}
    </a>
  )
  return (
    <Page title={t.request} hint={back}>
      {entries?.map((entry) => <Bill key={entry.id} entry={entry} keyName={entry.meta.key ? names.get(entry.meta.key) : undefined} />)}
      {entries?.length === 0 && (
        <Empty icon="search" title={t.notFound} action={<ButtonLink href="/dashboard/usage">{t.back}</ButtonLink>}>
          {t.notFoundHint}
        </Empty>
      )}
      {!entries && (read.error ? <Problem error={read.error} retry={read.reload} /> : <Skeleton height={280} />)}
    </Page>
  )
}

/** The amount of an item in millionths, before rounding. */
function amountOf({ tokens, pricePerMillion, price }: BillItem): number {
  if (tokens === undefined) return micros(price)
  return (tokens * micros(pricePerMillion)) / 1_000_000
}

function Bill({ entry, keyName }: { entry: Entry; keyName: string | undefined }) {
  const api = useStore(platform)?.urls.api ?? location.origin
  const { meta } = entry
  const items = (meta.items ?? []).filter((item) => item.tokens === undefined || item.tokens > 0)
  const sum = items.reduce((total, item) => total + amountOf(item), 0)
  const charged = micros(entry.amount)
  return (
    <>
      <div class="grid two">
        <Card title={<EntryKindCell entry={entry} />}>
          <dl class="facts">
            <dt>{t.charged}</dt>
            <dd>
              <Amount value={entry.amount} />
            </dd>
            <dt>{t.at}</dt>
            <dd>
              <Time at={entry.createdAt} />
            </dd>
            <dt>{t.key}</dt>
            <dd>{meta.key ? <a href={`/dashboard/keys/${meta.key}`}>{keyName ?? meta.key}</a> : '–'}</dd>
            <dt>{t.requestId}</dt>
            <dd>{entry.requestId ? <Id id={entry.requestId} what={t.requestId} start={10} end={6} /> : '–'}</dd>
            {meta.promptTokens !== undefined && (
              <>
                <dt>{t.tokens}</dt>
                <dd>
                  {count(meta.promptTokens)} / {count(meta.completionTokens ?? 0)} ({t.inOut})
                </dd>
              </>
            )}
          </dl>
        </Card>
        <Card title={t.check} hint={t.checkHint}>
          {items.length > 0 ? (
            <table class="table plain bill">
              <thead>
                <tr>
                  <th scope="col">{t.item}</th>
                  <th scope="col" class="end">
                    {t.price}
                  </th>
                  <th scope="col" class="end">
                    {t.amount}
                  </th>
                </tr>
              </thead>
              <tbody>
                {items.map((item) => (
                  <tr key={item.item}>
                    <td>
                      {itemName(item.item)}
                      {item.tokens !== undefined && <span class="sub">{count(item.tokens)}</span>}
                    </td>
                    <td class="end">{item.tokens === undefined ? money(micros(item.price)) : t.perMillion(money(micros(item.pricePerMillion)))}</td>
                    <td class="end">
                      <Amount value={Math.round(amountOf(item) * 100) / 100} aligned />
                    </td>
                  </tr>
                ))}
              </tbody>
              <tfoot>
                {Math.abs(charged - sum) >= 0.01 && (
                  <tr>
                    <td>{t.rounding}</td>
                    <td />
                    <td class="end">{charged - sum < 1 && charged > sum ? `< ${money(1)}` : money(charged - sum)}</td>
                  </tr>
                )}
                <tr>
                  <td>{t.charged}</td>
                  <td />
                  <td class="end">
                    <Amount value={charged} aligned />
                  </td>
                </tr>
              </tfoot>
            </table>
          ) : (
            <>
              <p class="muted">{t.fixed}</p>
              <dl class="facts">
                <dt>{t.units}</dt>
                <dd>{count(entry.units)}</dd>
                <dt>{t.unitPrice}</dt>
                <dd>
                  <Amount value={entry.unitPrice ?? entry.amount} />
                </dd>
                <dt>{t.charged}</dt>
                <dd>
                  <Amount value={entry.amount} />
                </dd>
              </dl>
            </>
          )}
        </Card>
      </div>
      <Card title={t.raw}>
        <Code text={JSON.stringify(entry, null, 2)} what={t.raw} lang="json" />
        <p class="muted small">
          {t.curl}: <code>GET {api}/api/v1/billing/ledger?requestId=…</code>
        </p>
      </Card>
    </>
  )
}

import { get } from '../../api/client'
import type { Entry, Statement } from '../../api/types'
import { micros } from '../../lib/format'
import { useQuery } from '../../lib/query'
import { Amount, Card, Empty, Id, Problem, Skeleton, Time } from '../../ui/basic'
import { EntryKindCell } from '../../ui/entries'
import { Table, type Column } from '../../ui/table'
import { t } from './messages'

const LINES = 200

export function Payments() {
  const read = useQuery('ledger:payments', async () => {
    const kinds = ['credit', 'refund'] as const
    const pages = await Promise.all(kinds.map((kind) => get<Statement>(`/billing/ledger?kind=${kind}&limit=${LINES}`)))
    return pages.flatMap(({ entries }) => entries).sort((a, b) => b.createdAt.localeCompare(a.createdAt))
  })
  const columns: Column<Entry>[] = [
    { name: 'what', title: t.payments, cell: (entry) => <EntryKindCell entry={entry} /> },
    { name: 'source', title: t.source, minor: true, cell: ({ source }) => source && <Id id={source.replace(/^[a-z]+:/, '')} what={t.source} start={10} end={6} /> },
    { name: 'when', title: t.when, cell: ({ createdAt }) => <Time at={createdAt} /> },
    {
      name: 'receipt',
      title: t.receipt,
      end: true,
      cell: ({ source, kind }) =>
        source && kind === 'credit' ? (
          <a href={`/api/v1/billing/receipts/${encodeURIComponent(source)}`} target="_blank" rel="noopener">
            {t.receipt}
          </a>
        ) : (
          ''
        ),
    },
    { name: 'amount', title: t.sum, end: true, sort: (entry) => micros(entry.amount), cell: (entry) => <Amount value={entry.direction === 'in' ? micros(entry.amount) : -micros(entry.amount)} sign /> },
  ]
  return (
    <Card flush title={t.payments} hint={t.paymentsHint}>
      {read.data?.length ? (
        <Table caption={t.payments} columns={columns} rows={read.data} id={({ id }) => id} order="payments" />
      ) : read.data ? (
        <Empty icon="card" title={t.noneTitle}>
          {t.noneHint}
        </Empty>
      ) : (
        <div class="inset">{read.error ? <Problem error={read.error} retry={read.reload} /> : <Skeleton lines={4} />}</div>
      )}
    </Card>
  )
}

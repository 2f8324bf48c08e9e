import { useEffect, useState } from 'preact/hooks'
import { useKeys } from '../../api/reads'
import type { Key } from '../../api/types'
import { micros } from '../../lib/format'
import { setQuery, useAddress } from '../../lib/router'
import { Badge, Button, Card, Empty, Id, Page, Problem, Skeleton, Time } from '../../ui/basic'
import { Input, Select } from '../../ui/form'
import { Table, type Column } from '../../ui/table'
import { KeyDetail } from './detail'
import { KeyDialogs, type KeyDialog } from './dialogs'
import { Spent } from '../../ui/spent'
import { t } from './messages'

export default function Keys({ rest }: { rest: string }) {
  return rest ? <KeyDetail id={rest} /> : <KeyList />
}

export function StatusBadge({ status }: { status: Key['status'] }) {
  return <Badge tone={status === 'active' ? 'good' : status === 'expired' ? 'warn' : 'quiet'}>{t[status]}</Badge>
}

function KeyList() {
  const keys = useKeys()
  const { query } = useAddress()
  const [asked, ask] = useState<KeyDialog | null>(null)
  useEffect(() => {
    if (!query.has('new')) return
    setQuery({ new: null })
    ask({ what: 'create' })
  }, [query])
  const status = query.get('status') ?? 'active'
  const search = query.get('q') ?? ''
  const rows = (keys.data ?? []).filter((key) => {
    const isWanted = status === 'all' || key.status === status
    return isWanted && `${key.name} ${key.id} ${key.prefix}`.toLowerCase().includes(search.toLowerCase())
  })
  const create = (
    <Button look="primary" icon="plus" onClick={() => ask({ what: 'create' })}>
      {t.newKey}
    </Button>
  )
  const columns: Column<Key>[] = [
    {
      name: 'name',
      title: t.name,
      sort: ({ name }) => name.toLowerCase(),
      cell: (key) => (
        <span>
          <a class="strong ink" href={`/dashboard/keys/${key.id}`}>
            {key.name}
          </a>
          {key.kind && key.kind !== 'key' && <span class="sub">{key.kind === 'grant' ? t.grant : t.bought}</span>}
        </span>
      ),
    },
    { name: 'id', title: t.id, minor: true, cell: (key) => <Id id={key.prefix} what={t.keyId} start={9} /> },
    { name: 'status', title: t.status, sort: (key) => key.status, cell: (key) => <StatusBadge status={key.status} /> },
    { name: 'today', title: t.today, end: true, sort: ({ spend }) => micros(spend?.todayUsd), cell: ({ spend, limits }) => <Spent spent={spend?.todayUsd} limit={limits.dailyUsd} /> },
    { name: 'spent', title: t.spent, end: true, sort: ({ spend }) => micros(spend?.totalUsd), cell: ({ spend, limits }) => <Spent spent={spend?.totalUsd} limit={limits.totalUsd} /> },
    { name: 'used', title: t.lastUsed, end: true, sort: ({ lastUsedAt }) => (lastUsedAt ? Date.parse(lastUsedAt) : 0), cell: ({ lastUsedAt }) => (lastUsedAt ? <Time at={lastUsedAt} /> : <span class="muted">{t.never}</span>) },
  ]
  return (
    <Page title={t.title} hint={t.hint} action={create}>
      <div class="filters">
        <div class="grow">
          <Input label={t.search} type="search" placeholder={t.searchHint} value={search} onText={(q) => setQuery({ q })} />
        </div>
        <Select
          label={t.status}
          value={status}
          onText={(next) => setQuery({ status: next === 'active' ? null : next })}
          options={[
            ['active', t.active],
            ['revoked', t.revoked],
            ['expired', t.expired],
            ['all', t.all],
          ]}
        />
      </div>
      <Card flush>
        {keys.error && !keys.data ? (
          <div class="inset">
            <Problem error={keys.error} retry={keys.reload} />
          </div>
        ) : !keys.data ? (
          <div class="inset">
            <Skeleton lines={5} />
          </div>
        ) : keys.data.length === 0 ? (
          <Empty icon="key" title={t.noneTitle} action={create}>
            {t.noneHint}
          </Empty>
        ) : rows.length === 0 ? (
          <Empty icon="search" title={t.noneFound} action={<Button onClick={() => setQuery({ q: null, status: 'all' })}>{t.showAll}</Button>}>
            {t.noneFoundHint}
          </Empty>
        ) : (
          <Table caption={t.title} columns={columns} rows={rows} id={({ id }) => id} href={({ id }) => `/dashboard/keys/${id}`} />
        )}
      </Card>
      <KeyDialogs asked={asked} ask={ask} />
    </Page>
  )
}

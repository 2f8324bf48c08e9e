import { useState } from 'preact/hooks'
import { get, query as toQuery } from '../../api/client'
import { keyNames, useKeys } from '../../api/reads'
import type { Entry, Statement, Usage } from '../../api/types'
import { count, headline, micros, money, percent, short, shorten, utcDay } from '../../lib/format'
import { useQuery } from '../../lib/query'
import { setQuery, useAddress } from '../../lib/router'
import { Bars } from '../../ui/bars'
import { Amount, Button, ButtonLink, Card, Empty, Page, Problem, Skeleton, Time } from '../../ui/basic'
import { EntryKindCell, groupName, serviceName, toSeries, type GroupBy } from '../../ui/entries'
import { Input, Segments, Select } from '../../ui/form'
import { Table, type Column } from '../../ui/table'
import { t as basic } from '../../ui/messages'
import { t } from './messages'
import { RequestPage } from './request'

const PAGE = 50
const RANGES = ['7', '30', '90'] as const

export default function UsagePage({ rest }: { rest: string }) {
  return rest ? <RequestPage id={rest} /> : <UsageList />
}

interface Filter {
  range: string
  from: string
  to: string
  by: GroupBy
  service: string
  key: string
}

/** Reads the filter from the address. */
function filterOf(query: URLSearchParams): Filter {
  const range = query.get('range') ?? '30'
  const isDates = range === 'dates'
  const today = utcDay(Date.now())
  const by = query.get('by')
  return {
    range,
    from: (isDates && query.get('from')) || utcDay(Date.now(), (Number(range) || 30) - 1),
    to: (isDates && query.get('to')) || today,
    by: by === 'key' || by === 'kind' ? by : 'service',
    service: query.get('service') ?? '',
    key: query.get('key') ?? '',
  }
}

function UsageList() {
  const { query } = useAddress()
  const filter = filterOf(query)
  const keys = useKeys()
  const names = keyNames(keys.data)
  const { from, to, by, service, key } = filter
  // One reading has all that the chart, the sums and the breakdown need, however they are grouped.
  const usage = useQuery(`usage:${from}:${to}:day,service,key,kind`, () => get<Usage>(`/billing/usage${toQuery({ from, to, by: 'day,service,key,kind' })}`))
  const rows = (usage.data?.rows ?? []).filter((row) => (!service || row.service === service) && (!key || row.key === key))
  const services = [...new Set((usage.data?.rows ?? []).map((row) => row.service ?? ''))].filter(Boolean).sort()
  const total = rows.reduce(
    (sum, row) => ({ cost: sum.cost + micros(row.costUsd), requests: sum.requests + row.requests, input: sum.input + row.promptTokens, output: sum.output + row.completionTokens }),
    { cost: 0, requests: 0, input: 0, output: 0 },
  )
  const csv = `/api/v1/billing/ledger${toQuery({ format: 'csv', from, to, service, key })}`
  const figure = (label: string, value: preact.ComponentChildren, hint?: string) => (
    <div class="figure">
      <p class="label">{label}</p>
      <p class="value">{usage.data ? value : <span class="skeleton block figure-wait" />}</p>
      <p class="muted small">{hint ?? ' '}</p>
    </div>
  )
  return (
    <Page
      title={t.title}
      hint={t.hint}
      action={
        <ButtonLink href={csv} icon="download" download>
          {t.export}
        </ButtonLink>
      }
    >
      <Filters filter={filter} services={services} keys={[...names]} />
      <Card>
        <div class="grid four">
          {figure(t.spent, <Amount value={total.cost} rounded />, total.requests ? t.perRequest(money(headline(total.cost / total.requests))) : undefined)}
          {figure(t.requests, count(total.requests))}
          {figure(t.input, <span title={count(total.input)}>{short(total.input)}</span>)}
          {figure(t.output, <span title={count(total.output)}>{short(total.output)}</span>)}
        </div>
        {usage.data ? <Bars title={t.chart} {...toSeries(rows, by, from, to, names)} height={240} /> : usage.error ? <Problem error={usage.error} retry={usage.reload} /> : <Skeleton height={276} />}
      </Card>
      {rows.length > 0 && <Breakdown rows={rows} by={by} names={names} total={total.cost} />}
      <Lines key={JSON.stringify([from, to, service, key])} {...{ from, to, service, apiKey: key, names }} />
    </Page>
  )
}

function Filters({ filter, services, keys }: { filter: Filter; services: string[]; keys: [string, string][] }) {
  const ranges: [string, string][] = [...RANGES.map((range) => [range, t.days(Number(range))] as [string, string]), ['dates', t.custom]]
  return (
    <div class="filters">
      <Segments
        label={t.range}
        value={filter.range}
        options={ranges}
        onChoose={(range) => setQuery(range === 'dates' ? { range, from: filter.from, to: filter.to } : { range: range === '30' ? null : range, from: null, to: null })}
      />
      {filter.range === 'dates' && (
        <>
          <Input label={t.from} type="date" value={filter.from} max={filter.to} onText={(from) => setQuery({ from })} />
          <Input label={t.to} type="date" value={filter.to} min={filter.from} onText={(to) => setQuery({ to })} />
        </>
      )}
      <Select
        label={t.by}
        value={filter.by}
        onText={(by) => setQuery({ by: by === 'service' ? null : by })}
        options={[
          ['service', t.service],
          ['key', t.key],
          ['kind', t.kind],
        ]}
      />
      <Select label={t.service} value={filter.service} onText={(service) => setQuery({ service })} options={[['', t.allServices], ...services.map((id) => [id, serviceName(id)] as [string, string])]} />
      <Select label={t.key} value={filter.key} onText={(key) => setQuery({ key })} options={[['', t.allKeys], ...keys]} />
    </div>
  )
}

interface Group {
  id: string
  name: string
  requests: number
  input: number
  output: number
  cost: number
}

function Breakdown({ rows, by, names, total }: { rows: Usage['rows']; by: GroupBy; names: Map<string, string>; total: number }) {
  const groups = new Map<string, Group>()
  for (const row of rows) {
    const id = row[by] ?? ''
    const group = groups.get(id) ?? { id, name: groupName(by, row[by], names), requests: 0, input: 0, output: 0, cost: 0 }
    group.requests += row.requests
    group.input += row.promptTokens
    group.output += row.completionTokens
    group.cost += micros(row.costUsd)
    groups.set(id, group)
  }
  const list = [...groups.values()].sort((a, b) => b.cost - a.cost)
  const title = { service: t.service, key: t.key, kind: t.kind }[by]
  const filterable = by === 'kind' ? null : by
  const columns: Column<Group>[] = [
    {
      name: 'name',
      title,
      sort: ({ name }) => name.toLowerCase(),
      cell: ({ id, name }) =>
        filterable && id ? (
          <button type="button" class="link" onClick={() => setQuery({ [filterable]: id })}>
            {name}
          </button>
        ) : (
          name
        ),
    },
    { name: 'requests', title: t.requests, end: true, sort: (group) => group.requests, cell: (group) => count(group.requests) },
    { name: 'input', title: t.input, end: true, minor: true, sort: (group) => group.input, cell: (group) => count(group.input) },
    { name: 'output', title: t.output, end: true, minor: true, sort: (group) => group.output, cell: (group) => count(group.output) },
    { name: 'share', title: t.share, end: true, minor: true, cell: (group) => percent(total ? group.cost / total : 0) },
    { name: 'cost', title: t.cost, end: true, sort: (group) => group.cost, cell: (group) => <Amount value={group.cost} aligned /> },
  ]
  return (
    <Card flush title={t.breakdown}>
      <Table caption={t.breakdown} columns={columns} rows={list} id={({ id }) => id} order="groups" />
    </Card>
  )
}

interface LinesProps {
  from: string
  to: string
  service: string
  apiKey: string
  names: Map<string, string>
}

function Lines({ from, to, service, apiKey, names }: LinesProps) {
  const path = (cursor?: string) => `/billing/ledger${toQuery({ from, to, service, key: apiKey, limit: PAGE, cursor })}`
  const first = useQuery(`ledger:${path()}`, () => get<Statement>(path()))
  const [more, setMore] = useState<Statement[]>([])
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState<unknown>(null)
  const pages = first.data ? [first.data, ...more] : []
  const next = pages.at(-1)?.next
  // Credits stand on the page of payments. A page that was read anew may repeat lines of those after it.
  const seen = new Set<string>()
  const entries = pages.flatMap((page) => page.entries).filter(({ id, kind }) => !seen.has(id) && seen.add(id) && (kind === 'usage' || kind === 'purchase'))
  const load = async () => {
    if (!next) return
    setBusy(true)
    setError(null)
    try {
      const page = await get<Statement>(path(next))
      setMore((before) => [...before, page])
    } catch (failure) {
      setError(failure)
    }
    setBusy(false)
  }
  const tokens = ({ meta }: Entry) => (meta.promptTokens === undefined ? '' : `${count(meta.promptTokens)} / ${count(meta.completionTokens ?? 0)}`)
  const columns: Column<Entry>[] = [
    {
      name: 'what',
      title: t.what,
      cell: (entry) =>
        entry.requestId ? (
          <a class="ink" href={link(entry.requestId)}>
            <EntryKindCell entry={entry} />
          </a>
        ) : (
          <EntryKindCell entry={entry} />
        ),
    },
    { name: 'key', title: t.key, minor: true, cell: ({ meta }) => (meta.key ? (names.get(meta.key) ?? <span class="mono">{shorten(meta.key)}</span>) : '') },
    { name: 'tokens', title: `${t.tokens} (${t.inOut})`, end: true, minor: true, cell: tokens },
    { name: 'when', title: t.when, end: true, cell: ({ createdAt }) => <Time at={createdAt} /> },
    { name: 'cost', title: t.cost, end: true, cell: ({ amount }) => <Amount value={amount} aligned /> },
  ]
  return (
    <Card flush title={t.lines} hint={t.linesHint}>
      {first.error && !first.data ? (
        <div class="inset">
          <Problem error={first.error} retry={first.reload} />
        </div>
      ) : !first.data ? (
        <div class="inset">
          <Skeleton lines={8} />
        </div>
      ) : entries.length === 0 && !next ? (
        <Empty icon="chart" title={t.none} action={<ButtonLink href="/dashboard/playground">{t.try}</ButtonLink>}>
          {t.noneHint}
        </Empty>
      ) : (
        <Table caption={t.lines} columns={columns} rows={entries} id={({ id }) => id} href={({ requestId }) => (requestId ? link(requestId) : undefined)} order="lines" />
      )}
      {error !== null && (
        <div class="inset">
          <Problem error={error} />
        </div>
      )}
      {next && (
        <div class="inset more-lines">
          <Button busy={busy} onClick={() => void load()}>
            {basic.more}
          </Button>
        </div>
      )}
    </Card>
  )
}

const link = (requestId: string) => `/dashboard/usage/${encodeURIComponent(requestId)}`

import { recent } from '../api/events'
import { get, query } from '../api/client'
import { keyNames, useBalance, useKeys, useModels } from '../api/reads'
import { platform } from '../api/session'
import type { Entry, Statement, Usage } from '../api/types'
import { catalogue } from '../lib/i18n'
import { count, headline, micros, money, shorten, signedPercent, utcDay } from '../lib/format'
import { useQuery } from '../lib/query'
import { useStore } from '../lib/store'
import { Bars } from '../ui/bars'
import { Amount, ButtonLink, Card, Empty, Note, Page, Problem, Skeleton, Time } from '../ui/basic'
import { Code } from '../ui/code'
import { EntryKindCell, toSeries } from '../ui/entries'
import { Icon } from '../ui/icon'
import { Table, type Column } from '../ui/table'

const t = catalogue(
  {
    title: 'Overview',
    buy: 'Buy credits',
    newKey: 'New key',
    available: 'Available',
    held: (amount: string) => `${amount} set aside for running requests`,
    noneHeld: 'Nothing set aside',
    today: 'Spent today',
    sevenDays: (amount: string) => `${amount} a day in the last 7 days`,
    compared: (change: string, amount: string) => `${change} against ${amount} a day`,
    thirty: 'Last 30 days',
    requests: (count: string) => `${count} requests`,
    left: 'Lasts about',
    leftDays: (days: number) => (days > 365 ? 'more than a year' : days === 1 ? '1 day' : `${days} days`),
    leftHint: 'at the pace of the last 7 days',
    leftNone: 'Nothing spent in 7 days',
    debt: (amount: string) => `You owe ${amount}`,
    debtHint: 'A card payment was refunded or disputed after its credit was spent. What you buy next settles it first.',
    settle: 'Settle',
    spending: 'Spending',
    spendingHint: 'UTC days, by model and service',
    activity: 'Latest activity',
    all: 'All activity',
    what: 'What',
    key: 'Key',
    when: 'When',
    amount: 'Amount',
    noActivity: 'Nothing has happened yet',
    noActivityHint: 'Requests, purchases and credits appear here the moment they are written.',
    begin: 'Three steps to your first answer',
    stepCredits: 'Buy credits',
    stepCreditsHint: 'By card or on the chain. Prepaid: what is not there cannot be spent.',
    stepKey: 'Make an API key',
    stepKeyHint: 'With limits of its own, so that a leaked key costs little.',
    stepAsk: 'Ask a model',
    stepAskHint: 'In the playground, or with the OpenAI client that you have.',
    done: 'Done',
    try: 'Open the playground',
    quick: 'Use it from your code',
    quickHint: 'The OpenAI client that you have, with another base URL.',
    example: 'Example',
  },
  {
    title: 'Überblick',
    buy: 'Guthaben kaufen',
    newKey: 'Neuer Schlüssel',
    available: 'Verfügbar',
    held: (amount) => `${amount} für laufende Anfragen zurückgelegt`,
    noneHeld: 'Nichts zurückgelegt',
    today: 'Heute ausgegeben',
    sevenDays: (amount) => `${amount} am Tag in den letzten 7 Tagen`,
    compared: (change, amount) => `${change} gegenüber ${amount} am Tag`,
    thirty: 'Letzte 30 Tage',
    requests: (count) => `${count} Anfragen`,
    left: 'Reicht für etwa',
    leftDays: (days) => (days > 365 ? 'mehr als ein Jahr' : days === 1 ? '1 Tag' : `${days} Tage`),
    leftHint: 'beim Tempo der letzten 7 Tage',
    leftNone: 'In 7 Tagen nichts ausgegeben',
    debt: (amount) => `Sie schulden ${amount}`,
    debtHint: 'Eine Kartenzahlung wurde erstattet oder bestritten, als ihr Guthaben schon ausgegeben war. Der nächste Kauf gleicht das zuerst aus.',
    settle: 'Ausgleichen',
    spending: 'Ausgaben',
    spendingHint: 'UTC-Tage, nach Modell und Dienst',
    activity: 'Zuletzt geschehen',
    all: 'Alles zeigen',
    what: 'Was',
    key: 'Schlüssel',
    when: 'Wann',
    amount: 'Betrag',
    noActivity: 'Es ist noch nichts geschehen',
    noActivityHint: 'Anfragen, Käufe und Guthaben erscheinen hier, sobald sie geschrieben sind.',
    begin: 'Drei Schritte zur ersten Antwort',
    stepCredits: 'Guthaben kaufen',
    stepCreditsHint: 'Mit Karte oder auf der Chain. Vorausbezahlt: Was nicht da ist, kann nicht ausgegeben werden.',
    stepKey: 'API-Schlüssel anlegen',
    stepKeyHint: 'Mit eigenen Grenzen, damit ein verlorener Schlüssel wenig kostet.',
    stepAsk: 'Ein Modell fragen',
    stepAskHint: 'Hier zum Ausprobieren, oder mit dem OpenAI-Client, den Sie haben.',
    done: 'Erledigt',
    try: 'Ausprobieren',
    quick: 'Im eigenen Code verwenden',
    quickHint: 'Der OpenAI-Client, den Sie haben, mit einer anderen Basis-URL.',
    example: 'Beispiel',
  },
)

const DAYS = 30
const LINES = 8

export default function Overview() {
  const balance = useBalance()
  const keys = useKeys()
  const [from, to] = [utcDay(Date.now(), DAYS - 1), utcDay(Date.now())]
  const usage = useQuery(`usage:${from}:${to}:day,service`, () => get<Usage>(`/billing/usage${query({ from, to, by: 'day,service' })}`))
  const latest = useQuery('ledger:latest', () => get<Statement>(`/billing/ledger?limit=${LINES}`))
  const isNew = balance.data && keys.data && usage.data && (micros(balance.data.credited) === 0 || keys.data.length === 0 || usage.data.total.requests === 0)
  const actions = (
    <>
      <ButtonLink href="/dashboard/keys?new" icon="key">
        {t.newKey}
      </ButtonLink>
      <ButtonLink look="primary" href="/dashboard/billing" icon="plus">
        {t.buy}
      </ButtonLink>
    </>
  )
  const debt = micros(balance.data?.debt)
  return (
    <Page title={t.title} action={actions}>
      {debt > 0 && (
        <Note tone="warn" title={t.debt(money(debt))} action={<ButtonLink href="/dashboard/billing">{t.settle}</ButtonLink>}>
          {t.debtHint}
        </Note>
      )}
      <Figures balance={balance} usage={usage} />
      {isNew && <Steps credited={micros(balance.data?.credited) > 0} keyed={(keys.data?.length ?? 0) > 0} asked={(usage.data?.total.requests ?? 0) > 0} />}
      <Card title={t.spending} hint={t.spendingHint}>
        {usage.data ? <Bars title={t.spending} {...toSeries(usage.data.rows, 'service', from, to, new Map())} /> : usage.error ? <Problem error={usage.error} retry={usage.reload} /> : <Skeleton height={236} />}
      </Card>
      <Activity latest={latest} names={keyNames(keys.data)} />
      <QuickStart />
    </Page>
  )
}

type Read<T> = { data: T | undefined; error: Error | undefined; reload: () => void }

function Figures({ balance, usage }: { balance: Read<import('../api/types').Balance>; usage: Read<Usage> }) {
  if (balance.error && !balance.data) return <Problem error={balance.error} retry={balance.reload} />
  const today = utcDay(Date.now())
  const week = utcDay(Date.now(), 7)
  const sum = (keep: (day: string) => boolean) =>
    (usage.data?.rows ?? []).filter((row) => keep(row.day ?? '')).reduce((total, row) => total + micros(row.costUsd), 0)
  const spentToday = sum((day) => day === today)
  const daily = sum((day) => day >= week && day < today) / 7
  const available = micros(balance.data?.available)
  const lasts = daily > 0 ? Math.floor(available / daily) : null
  const held = micros(balance.data?.held)
  const figure = (label: string, value: preact.ComponentChildren, hint: preact.ComponentChildren, ready: boolean) => (
    <div class="card figure">
      <p class="label">{label}</p>
      <p class="value">{ready ? value : <span class="skeleton block figure-wait" />}</p>
      <p class="muted small">{ready ? hint : ' '}</p>
    </div>
  )
  const trend = daily > 0 ? t.compared(signedPercent(spentToday / daily - 1), money(headline(daily))) : t.sevenDays(money(0))
  return (
    <div class="grid figures">
      {figure(t.available, <Amount value={available} rounded />, held > 0 ? t.held(money(held)) : t.noneHeld, !!balance.data)}
      {figure(t.today, <Amount value={spentToday} rounded />, trend, !!usage.data)}
      {figure(t.thirty, <Amount value={usage.data?.total.costUsd ?? '0'} rounded />, t.requests(count(usage.data?.total.requests ?? 0)), !!usage.data)}
      {figure(t.left, lasts === null ? '–' : t.leftDays(lasts), lasts === null ? t.leftNone : t.leftHint, !!balance.data && !!usage.data)}
    </div>
  )
}

function Steps({ credited, keyed, asked }: { credited: boolean; keyed: boolean; asked: boolean }) {
  const steps = [
    { done: credited, title: t.stepCredits, hint: t.stepCreditsHint, action: t.buy, to: '/dashboard/billing' },
    { done: keyed, title: t.stepKey, hint: t.stepKeyHint, action: t.newKey, to: '/dashboard/keys?new' },
    { done: asked, title: t.stepAsk, hint: t.stepAskHint, action: t.try, to: '/dashboard/playground' },
  ]
  const next = steps.findIndex(({ done }) => !done)
  return (
    <Card title={t.begin}>
      <ol class="steps">
        {steps.map((step, index) => (
          <li key={step.to}>
            <span class={`step-mark${step.done ? ' done' : ''}`}>{step.done ? <Icon name="check" /> : index + 1}</span>
            <div>
              <p class="strong">{step.title}</p>
              <p class="muted small">{step.hint}</p>
            </div>
            {step.done ? (
              <span class="muted small">{t.done}</span>
            ) : (
              <ButtonLink look={index === next ? 'primary' : 'plain'} href={step.to}>
                {step.action}
              </ButtonLink>
            )}
          </li>
        ))}
      </ol>
    </Card>
  )
}

function Activity({ latest, names }: { latest: Read<Statement>; names: Map<string, string> }) {
  const fresh = useStore(recent)
  const known = new Set(latest.data?.entries.map(({ requestId }) => requestId))
  // News is shown before the statement is read again.
  const early: Entry[] = fresh
    .filter(({ requestId, kind }) => requestId && !known.has(requestId) && kind !== 'credit')
    .map((line) => ({ id: `live-${line.requestId}`, direction: 'out', amount: line.costUsd, units: 0, unitPrice: null, source: null, meta: line.key ? { key: line.key } : {}, ...line }))
  const newest = latest.data?.entries[0]?.createdAt ?? ''
  const rows = [...early.filter((line) => line.createdAt > newest), ...(latest.data?.entries ?? [])].slice(0, LINES)
  const link = (entry: Entry) => (entry.requestId ? `/dashboard/usage/${encodeURIComponent(entry.requestId)}` : '/dashboard/billing')
  const columns: Column<Entry>[] = [
    { name: 'what', title: t.what, cell: (entry) => <a class="ink" href={link(entry)}><EntryKindCell entry={entry} /></a> },
    { name: 'key', title: t.key, minor: true, cell: (entry) => (entry.meta.key ? (names.get(entry.meta.key) ?? <span class="mono">{shorten(entry.meta.key)}</span>) : '') },
    { name: 'when', title: t.when, cell: (entry) => <Time at={entry.createdAt} /> },
    { name: 'amount', title: t.amount, end: true, cell: (entry) => <Amount value={entry.direction === 'in' ? micros(entry.amount) : -micros(entry.amount)} sign aligned /> },
  ]
  return (
    <Card
      flush
      title={t.activity}
      action={
        <a class="small" href="/dashboard/usage">
          {t.all}
        </a>
      }
    >
      {rows.length ? (
        <Table caption={t.activity} columns={columns} rows={rows} id={({ id }) => id} href={link} />
      ) : latest.error ? (
        <div class="inset">
          <Problem error={latest.error} retry={latest.reload} />
        </div>
      ) : latest.data ? (
        <Empty icon="clock" title={t.noActivity}>
          {t.noActivityHint}
        </Empty>
      ) : (
        <div class="inset">
          <Skeleton lines={6} />
        </div>
      )}
    </Card>
  )
}

function QuickStart() {
  const offered = useStore(platform)
  const models = useModels()
  const model = models.data?.find(({ available }) => available)?.id ?? 'model'
  const text = `from openai import OpenAI

client = OpenAI(base_url="${offered?.urls.api ?? ''}/v1", api_key="${offered?.keys.prefix ?? ''}…")
answer = client.chat.completions.create(
    model="${model}",
    messages=[{"role": "user", "content": "Hello there"}],
)
print(answer.choices[0].message.content)`
  return (
    <Card title={t.quick} hint={t.quickHint} action={<a class="small" href="/dashboard/docs/developer">{t.example}</a>}>
      <Code text={text} what={t.example} lang="python" />
    </Card>
  )
}

import { useState } from 'preact/hooks'
import { get, query } from '../api/client'
import { platform } from '../api/session'
import type { Channel } from '../api/types'
import { catalogue } from '../lib/i18n'
import { micros, moment } from '../lib/format'
import { useQuery } from '../lib/query'
import { useStore } from '../lib/store'
import { Amount, Badge, Button, ButtonLink, Card, Empty, Id, Note, Page, Problem, Skeleton, Time } from '../ui/basic'
import { t as basic } from '../ui/messages'
import { Table, type Column } from '../ui/table'

const t = catalogue(
  {
    title: 'Channels',
    hint: 'Payment channels that your wallet opened as an agent: a deposit on the chain that vouchers spend from, chunk by chunk.',
    channel: 'Channel',
    state: 'State',
    deposit: 'Deposit',
    accepted: 'Signed',
    acceptedHint: 'Highest voucher',
    spent: 'Spent',
    left: 'Left',
    opened: 'Opened',
    used: 'Last used',
    closed: 'Closed',
    onChain: 'On the chain',
    none: 'No channels yet',
    noneHint: 'An agent opens one by itself when it streams chat at /mpp/chat/completions. Nobody needs a channel for API keys and credits.',
    guide: 'Guide for agents',
    open: 'Open',
    closing: 'Closing',
    closedState: 'Closed',
    unavailable: 'Channels are not shown by this server',
    unavailableHint: 'It has no payment channels, or a version that does not list them. They work all the same.',
    closeHint: 'A channel is closed by the wallet that opened it: mppx sessions close <channel>. The server also closes channels that are idle, and what was not spent goes back to you.',
    closeTitle: 'Closing a channel',
  },
  {
    title: 'Kanäle',
    hint: 'Zahlungskanäle, die Ihre Wallet als Agent geöffnet hat: eine Einlage auf der Chain, aus der Gutscheine Stück für Stück bezahlen.',
    channel: 'Kanal',
    state: 'Zustand',
    deposit: 'Einlage',
    accepted: 'Unterschrieben',
    acceptedHint: 'Höchster Gutschein',
    spent: 'Ausgegeben',
    left: 'Übrig',
    opened: 'Geöffnet',
    used: 'Zuletzt benutzt',
    closed: 'Geschlossen',
    onChain: 'Auf der Chain',
    none: 'Noch keine Kanäle',
    noneHint: 'Ein Agent öffnet selbst einen, wenn er über /mpp/chat/completions chattet. Für API-Schlüssel und Guthaben braucht niemand einen Kanal.',
    guide: 'Anleitung für Agenten',
    open: 'Offen',
    closing: 'Wird geschlossen',
    closedState: 'Geschlossen',
    unavailable: 'Dieser Server zeigt keine Kanäle',
    unavailableHint: 'Er hat keine Zahlungskanäle, oder eine Version, die sie nicht auflistet. Sie funktionieren trotzdem.',
    closeHint: 'Einen Kanal schließt die Wallet, die ihn geöffnet hat: mppx sessions close <Kanal>. Auch der Server schließt ungenutzte Kanäle; was nicht ausgegeben wurde, geht an Sie zurück.',
    closeTitle: 'Einen Kanal schließen',
  },
)

interface ChannelPage {
  channels: Channel[]
  next?: string | null
}

export default function Channels() {
  const offered = useStore(platform)
  const first = useQuery('channels', () => get<ChannelPage>('/channels'))
  const [more, setMore] = useState<ChannelPage[]>([])
  const [busy, setBusy] = useState(false)
  const pages = first.data ? [first.data, ...more] : []
  const next = pages.at(-1)?.next
  const load = async () => {
    setBusy(true)
    try {
      const page = await get<ChannelPage>(`/channels${query({ cursor: next })}`)
      setMore((before) => [...before, page])
    } finally {
      setBusy(false)
    }
  }
  const isMissing = (first.error as { status?: number } | undefined)?.status === 404
  const columns: Column<Channel>[] = [
    { name: 'channel', title: t.channel, cell: ({ id }) => <Id id={id} what={t.channel} start={8} end={6} /> },
    { name: 'state', title: t.state, cell: (channel) => <StateBadge {...channel} /> },
    { name: 'deposit', title: t.deposit, end: true, sort: (channel) => micros(channel.depositUsd), cell: (channel) => <Amount value={channel.depositUsd} /> },
    { name: 'accepted', title: t.accepted, end: true, minor: true, sort: (channel) => micros(channel.acceptedUsd), cell: (channel) => <Amount value={channel.acceptedUsd} /> },
    {
      name: 'spent',
      title: t.spent,
      end: true,
      sort: (channel) => micros(channel.spentUsd),
      cell: ({ spentUsd, depositUsd }) => (
        <span class="spent">
          <Amount value={spentUsd} />
          <span class="meter" aria-hidden="true">
            <span style={{ inlineSize: `${Math.min(micros(spentUsd) / Math.max(micros(depositUsd), 1), 1) * 100}%` }} />
          </span>
        </span>
      ),
    },
    { name: 'used', title: t.used, end: true, sort: ({ lastUsedAt, openedAt }) => Date.parse(lastUsedAt ?? openedAt), cell: ({ lastUsedAt, openedAt }) => <Time at={lastUsedAt ?? openedAt} /> },
    {
      name: 'chain',
      title: t.onChain,
      end: true,
      minor: true,
      cell: ({ chainUrl, openedAt }) =>
        chainUrl ? (
          <a href={chainUrl} target="_blank" rel="noopener noreferrer">
            {t.onChain}
          </a>
        ) : (
          <span class="muted" title={`${t.opened} ${moment(openedAt)}`}>
            –
          </span>
        ),
    },
  ]
  const guide = <ButtonLink href="/dashboard/docs/agent">{t.guide}</ButtonLink>
  return (
    <Page title={t.title} hint={t.hint}>
      <Card flush>
        {first.data?.channels.length ? (
          <>
            <Table caption={t.title} columns={columns} rows={pages.flatMap(({ channels }) => channels)} id={({ id }) => id} />
            {next && (
              <div class="inset more-lines">
                <Button busy={busy} onClick={() => void load()}>
                  {basic.more}
                </Button>
              </div>
            )}
          </>
        ) : first.data ? (
          <Empty icon="channel" title={t.none} action={guide}>
            {t.noneHint}
          </Empty>
        ) : isMissing ? (
          <Empty icon="channel" title={t.unavailable} action={guide}>
            {t.unavailableHint}
          </Empty>
        ) : (
          <div class="inset">{first.error ? <Problem error={first.error} retry={first.reload} /> : <Skeleton lines={4} />}</div>
        )}
      </Card>
      {offered?.channels !== false && !!first.data?.channels.length && <Note title={t.closeTitle}>{t.closeHint}</Note>}
    </Page>
  )
}

function StateBadge({ state, closedAt }: Channel) {
  if (closedAt || state === 'closed') return <Badge>{t.closedState}</Badge>
  return state === 'open' ? <Badge tone="good">{t.open}</Badge> : <Badge tone="warn">{state === 'closing' ? t.closing : state}</Badge>
}

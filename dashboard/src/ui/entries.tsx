// Lines of the statement and sums of usage, as several pages show them.
import { catalogue } from '../lib/i18n'
import { daysBetween, micros } from '../lib/format'
import type { Entry, EntryKind, UsageRow } from '../api/types'
import type { Series } from './bars'
import { Icon, type IconName } from './icon'

const t = catalogue(
  {
    preview: 'Privacy check',
    credit: 'Credit',
    card: 'Card payment',
    chain: 'Paid on the chain',
    sale: 'Bought from the contract',
    bonus: 'Bonus of a pack',
    dev: 'Credit for development',
    test: 'Test checkout',
    refund: 'Credit taken back',
    expired: 'Expired',
    usage: 'Chat',
    purchase: 'Fixed price',
    keyless: 'No key',
    deleted: 'Unknown key',
    input: 'Input tokens',
    output: 'Output tokens',
    cachedInput: 'Cached input tokens',
    cacheWrite: 'Tokens written to the cache',
    reasoning: 'Reasoning tokens',
    inputAudio: 'Input of sound',
    outputAudio: 'Output of sound',
    inputImage: 'Input of images',
    request: 'Request',
  },
  {
    preview: 'Datenschutzprüfung',
    credit: 'Guthaben',
    card: 'Kartenzahlung',
    chain: 'Auf der Chain bezahlt',
    sale: 'Beim Vertrag gekauft',
    bonus: 'Bonus eines Pakets',
    dev: 'Guthaben zum Entwickeln',
    test: 'Testkasse',
    refund: 'Guthaben zurückgenommen',
    expired: 'Verfallen',
    usage: 'Chat',
    purchase: 'Festpreis',
    keyless: 'Ohne Schlüssel',
    deleted: 'Unbekannter Schlüssel',
    input: 'Eingabe-Token',
    output: 'Ausgabe-Token',
    cachedInput: 'Eingabe-Token aus dem Cache',
    cacheWrite: 'In den Cache geschriebene Token',
    reasoning: 'Token des Nachdenkens',
    inputAudio: 'Eingabe von Ton',
    outputAudio: 'Ausgabe von Ton',
    inputImage: 'Eingabe von Bildern',
    request: 'Anfrage',
  },
)

/** The name of a model or service for people. */
export function serviceName(service: string): string {
  return service === 'pii.preview' ? t.preview : service
}

export function kindName(kind: EntryKind): string {
  return t[kind]
}

export function itemName(item: string): string {
  return item in ITEMS ? t[item as keyof typeof ITEMS] : item
}
const ITEMS = { input: 1, output: 1, cachedInput: 1, cacheWrite: 1, reasoning: 1, inputAudio: 1, outputAudio: 1, inputImage: 1, request: 1 } as const

/** Where credit came from. */
export function sourceName(source: string | null): string {
  const [kind = '', rest = ''] = source?.split(':') ?? []
  if (kind === 'card' && rest.startsWith('test')) return t.test
  const names: Record<string, string> = { card: t.card, tx: t.chain, held: t.chain, sale: t.sale, bonus: t.bonus, dev: t.dev }
  return names[kind] ?? t.credit
}

export function entryIcon({ kind, service }: Pick<Entry, 'kind' | 'service'>): IconName {
  if (kind === 'credit') return 'plus'
  if (kind === 'refund') return 'undo'
  if (kind === 'expired') return 'clock'
  return service === 'pii.preview' ? 'shield' : kind === 'usage' ? 'chat' : 'bolt'
}

export function entryName(entry: Pick<Entry, 'kind' | 'service' | 'source'>): string {
  if (entry.kind === 'credit') return sourceName(entry.source)
  if (entry.kind === 'refund' || entry.kind === 'expired') return kindName(entry.kind)
  return serviceName(entry.service)
}

/** What happened, with its icon. */
export function EntryKindCell({ entry, sub }: { entry: Pick<Entry, 'kind' | 'service' | 'source'>; sub?: string }) {
  return (
    <span class="kind">
      <Icon name={entryIcon(entry)} />
      <span>
        {entryName(entry)}
        {sub && <span class="sub">{sub}</span>}
      </span>
    </span>
  )
}

export type GroupBy = 'service' | 'key' | 'kind'

export function groupName(by: GroupBy, value: string | undefined, names: Map<string, string>): string {
  if (by === 'key') return value ? (names.get(value) ?? t.deleted) : t.keyless
  if (by === 'kind') return value ? kindName(value as EntryKind) : ''
  return serviceName(value ?? '')
}

/** Days and a series for each group, for the chart. */
export function toSeries(rows: UsageRow[], by: GroupBy, from: string, to: string, names: Map<string, string>): { days: string[]; series: Series[] } {
  const days = daysBetween(from, to)
  const places = new Map(days.map((day, index) => [day, index]))
  const series = new Map<string, Series>()
  for (const row of rows) {
    const place = places.get(row.day ?? '')
    if (place === undefined) continue
    const id = row[by] ?? ''
    let one = series.get(id)
    if (!one) series.set(id, (one = { id, name: groupName(by, row[by], names), values: days.map(() => 0) }))
    one.values[place] = (one.values[place] ?? 0) + micros(row.costUsd)
  }
  return { days, series: [...series.values()] }
}

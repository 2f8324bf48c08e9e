// Numbers, amounts and moments as the reader's language writes them. Amounts travel as decimal text and are added up in
// millionths of a dollar, because fractions of binary numbers do not add up.
import { locale } from './i18n'

export const MICROS = 1_000_000

/** Reads dollars as millionths. */
export function micros(dollars: string | number | null | undefined): number {
  const [, sign = '', whole = '0', fraction = ''] = /^(-?)(\d*)(?:\.(\d*))?$/.exec(String(dollars ?? '0').trim()) ?? []
  const value = Number(whole || 0) * MICROS + Number(fraction.slice(0, 6).padEnd(6, '0'))
  return sign ? -value : value
}

/** Writes millionths as dollars for the server. */
export function dollars(amount: number): string {
  const text = String(Math.abs(Math.round(amount))).padStart(7, '0')
  const fraction = text.slice(-6).replace(/0{1,4}$/, '')
  return `${amount < 0 ? '-' : ''}${text.slice(0, -6)}.${fraction}`
}

const made = new Map<string, Intl.NumberFormat>()
function numbers(options: Intl.NumberFormatOptions): Intl.NumberFormat {
  const key = locale() + JSON.stringify(options)
  let format = made.get(key)
  if (!format) made.set(key, (format = new Intl.NumberFormat(locale(), options)))
  return format
}

/** An amount for a headline: cents, unless it is less than ten of them. */
export function headline(amount: number): number {
  return Math.abs(amount) >= MICROS / 10 ? Math.round(amount / 10_000) * 10_000 : Math.round(amount)
}

/** Decimals that an amount needs: cents, and all of them below a dollar where there are any. */
function decimals(amount: number): number {
  const size = Math.abs(Math.round(amount))
  if (size >= MICROS || size % 10_000 === 0) return 2
  return 6 - (/0*$/.exec(String(size))?.[0].length ?? 0)
}

export interface AmountFormat {
  sign?: boolean | undefined
  /** Decimals that are always there. */
  digits?: number | undefined
}

export function amountParts(amount: number, { sign, digits }: AmountFormat = {}): Intl.NumberFormatPart[] {
  const places = digits ?? decimals(amount)
  const format = numbers({
    style: 'currency',
    currency: 'USD',
    currencyDisplay: 'narrowSymbol',
    minimumFractionDigits: places,
    maximumFractionDigits: places,
    ...(sign ? { signDisplay: 'exceptZero' as const } : {}),
  })
  const parts = format.formatToParts(amount / MICROS)
  // A hyphen is narrower than the plus sign that it stands below.
  return parts.map((part) => (part.type === 'minusSign' ? { ...part, value: '\u2212' } : part))
}

/** Millionths as `$1,234.50` or `$0.000101`. */
export function money(amount: number, format?: AmountFormat): string {
  return amountParts(amount, format).map((part) => part.value).join('')
}

/** An amount in full, for who points at it. */
export function exactMoney(amount: number): string {
  const rest = Math.abs(Math.round(amount)) % 10_000
  return money(amount, { digits: rest === 0 ? 2 : 6 })
}

export function count(value: number): string {
  return numbers({ maximumFractionDigits: 0 }).format(value)
}

/** A large number in few characters: `128K`. */
export function short(value: number): string {
  return numbers({ notation: 'compact', maximumFractionDigits: 1 }).format(value)
}

export function percent(part: number, digits = 0): string {
  return numbers({ style: 'percent', maximumFractionDigits: digits }).format(part)
}

export function signedPercent(part: number): string {
  return numbers({ style: 'percent', maximumFractionDigits: 0, signDisplay: 'exceptZero' }).format(part)
}

export function moment(time: string | number | Date): string {
  return new Intl.DateTimeFormat(locale(), { dateStyle: 'medium', timeStyle: 'medium' }).format(new Date(time))
}

export function shortMoment(time: string | number | Date): string {
  return new Intl.DateTimeFormat(locale(), { dateStyle: 'medium', timeStyle: 'short' }).format(new Date(time))
}

/** A UTC day such as `2026-01-31`, in words. */
export function day(text: string, style: 'short' | 'long' = 'short'): string {
  const options: Intl.DateTimeFormatOptions =
    style === 'short' ? { month: 'short', day: 'numeric' } : { weekday: 'short', year: 'numeric', month: 'short', day: 'numeric' }
  return new Intl.DateTimeFormat(locale(), { ...options, timeZone: 'UTC' }).format(new Date(`${text}T00:00:00Z`))
}

const STEPS: [Intl.RelativeTimeFormatUnit, number][] = [
  ['second', 60],
  ['minute', 60],
  ['hour', 24],
  ['day', 7],
]

/** A moment as seen from now: `2 min ago`, or the day where it is longer ago than a week. */
export function relative(time: string | number | Date, now: number): string {
  let value = (new Date(time).getTime() - now) / 1000
  const format = new Intl.RelativeTimeFormat(locale(), { numeric: 'auto', style: 'short' })
  if (Math.abs(value) < 10) return format.format(0, 'second')
  for (const [unit, size] of STEPS) {
    if (Math.abs(value) < size) return format.format(Math.trunc(value), unit)
    value /= size
  }
  const isThisYear = new Date(time).getFullYear() === new Date(now).getFullYear()
  const options: Intl.DateTimeFormatOptions = { month: 'short', day: 'numeric', ...(isThisYear ? {} : { year: 'numeric' }) }
  return new Intl.DateTimeFormat(locale(), options).format(new Date(time))
}

/** Shortens an id in the middle. */
export function shorten(id: string, start = 6, end = 4): string {
  return id.length <= start + end + 1 ? id : `${id.slice(0, start)}…${id.slice(-end)}`
}

const DAY_MS = 86_400_000

/** The UTC day of a moment, or of so many days before it. */
export function utcDay(time: number, before = 0): string {
  return new Date(time - before * DAY_MS).toISOString().slice(0, 10)
}

/** All UTC days from one to another. */
export function daysBetween(from: string, to: string): string[] {
  const days: string[] = []
  for (let at = Date.parse(from); at <= Date.parse(to) && days.length < 400; at += DAY_MS) days.push(utcDay(at))
  return days
}

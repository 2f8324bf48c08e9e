// Texts in several languages. Each page has a catalogue of its own beside it; a language that lacks a text does not compile.

import { remember, stored } from './stored'

export type Language = 'en' | 'de' | 'pseudo'

type Text = string | ((...values: never[]) => string)
type Texts = Record<string, Text>
type Translated<T> = { readonly [K in keyof T]: T[K] extends (...values: infer V) => string ? (...values: V) => string : string }

const STORED = 'language'

let current: Language = read()
apply()

function read(): Language {
  const kept = stored(STORED)
  if (kept === 'en' || kept === 'de' || kept === 'pseudo') return kept
  return navigator.language.toLowerCase().startsWith('de') ? 'de' : 'en'
}

function apply(): void {
  document.documentElement.lang = current === 'de' ? 'de' : 'en'
  document.documentElement.dir = current === 'pseudo' ? 'rtl' : 'ltr'
}

export function language(): Language {
  return current
}

/** The locale of numbers and dates: the reader's own variant of the language, where the browser has one. */
export function locale(): string {
  const wanted = current === 'de' ? 'de' : 'en'
  return navigator.languages.find((tag) => tag.toLowerCase().startsWith(wanted)) ?? (wanted === 'en' ? 'en-US' : wanted)
}

/** Changes the language; whoever calls this draws the page anew. */
export function setLanguage(next: Language): void {
  current = next
  remember(STORED, next)
  apply()
}

const ACCENTS: Record<string, string> = { a: 'á', e: 'é', i: 'í', o: 'ó', u: 'ú', A: 'Á', E: 'É', I: 'Í', O: 'Ó', U: 'Ú' }

/** Lengthens a text by a third, as other languages do, so that what does not fit is seen. */
function pseudo(text: string): string {
  const accented = text.replace(/[aeiouAEIOU]/g, (letter) => ACCENTS[letter] ?? letter)
  return `[${accented}${'·'.repeat(Math.ceil(text.length / 3))}]`
}

/** Makes a catalogue; its texts are those of the language at the moment they are read. */
export function catalogue<T extends Texts>(en: T, de: Translated<T>): Translated<T> {
  return new Proxy(en, {
    get(_, name: string) {
      const text = (current === 'de' ? (de as unknown as Texts) : en)[name] as Text | undefined
      if (current !== 'pseudo' || text === undefined) return text
      return typeof text === 'string' ? pseudo(text) : (...values: never[]) => pseudo(text(...values))
    },
  }) as unknown as Translated<T>
}

/** Chooses by number, as the language of the page counts. */
export function plural(count: number, one: string, other: string): string {
  return new Intl.PluralRules(locale()).select(count) === 'one' ? one : other
}

import type { Preview } from '../../api/types'

type Entities = Preview['entities']

const ACRONYMS = /\b(us|uk|eu|ssn|iban|ip|api|url|id|nhs|mac|aws|vin|bic|itin|npi|dea|jwt|pin|cvv|nino|tfn|abn|acn|nif|pan|imei)\b/g

/** The name of a kind of personal data, for people: `Email address`, `US SSN`. */
export function entityName(type: string): string {
  const words = type.toLowerCase().replaceAll('_', ' ').replace(ACRONYMS, (word) => word.toUpperCase())
  return words.charAt(0).toUpperCase() + words.slice(1)
}

/** Offsets count characters, not units of UTF-16. */
const characters = (text: string) => Array.from(text)

/** Findings that do not overlap, in order. */
function inOrder(entities: Entities): Entities {
  let end = 0
  return entities
    .toSorted((a, b) => a.start - b.start || b.end - a.end)
    .filter((entity) => {
      if (entity.start < end) return false
      end = entity.end
      return true
    })
}

/** The text with numbered placeholders, as `privacyMode` gives it to a model: one for each value. */
export function placeholders(text: string, entities: Entities): string {
  const letters = characters(text)
  const numbers = new Map<string, number>()
  const counts = new Map<string, number>()
  let written = ''
  let at = 0
  for (const { type, start, end } of inOrder(entities)) {
    const value = `${type} ${letters.slice(start, end).join('')}`
    let number = numbers.get(value)
    if (number === undefined) {
      number = (counts.get(type) ?? 0) + 1
      counts.set(type, number)
      numbers.set(value, number)
    }
    written += `${letters.slice(at, start).join('')}[${type}_${number}]`
    at = end
  }
  return written + letters.slice(at).join('')
}

/** The text with its findings marked. */
export function Marked({ text, entities }: { text: string; entities: Entities }) {
  const letters = characters(text)
  const parts: preact.ComponentChildren[] = []
  let at = 0
  for (const { type, start, end, score } of inOrder(entities)) {
    parts.push(letters.slice(at, start).join(''))
    parts.push(
      <mark key={start} title={`${entityName(type)}, ${Math.round(score * 100)} %`}>
        {letters.slice(start, end).join('')}
        <span class="mark-name">{entityName(type)}</span>
      </mark>,
    )
    at = end
  }
  parts.push(letters.slice(at).join(''))
  return <pre class="plain marked">{parts}</pre>
}

import { micros, money } from '../lib/format'
import { Amount } from './basic'
import { t } from './messages'

/** What was spent, and of how much. */
export function Spent({ spent, limit }: { spent: string | undefined; limit: string | null }) {
  if (spent === undefined && limit === null) return <span class="muted">–</span>
  const part = limit === null ? 0 : micros(spent) / Math.max(micros(limit), 1)
  return (
    <span class="spent">
      <span>
        {spent === undefined ? '–' : <Amount value={spent} />} {limit !== null && <span class="muted">{t.of(money(micros(limit)))}</span>}
      </span>
      {limit !== null && (
        <span class={`meter${part >= 1 ? ' full' : part >= 0.8 ? ' high' : ''}`} aria-hidden="true">
          <span style={{ inlineSize: `${Math.min(part, 1) * 100}%` }} />
        </span>
      )}
    </span>
  )
}

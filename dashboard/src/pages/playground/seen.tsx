// The last message as the model gets it, beside the original.
import { useState } from 'preact/hooks'
import { NotSigned } from '../../api/sign'
import { platform } from '../../api/session'
import { askV1, needKey } from '../../api/spending-key'
import type { Preview } from '../../api/types'
import { micros, money } from '../../lib/format'
import { invalidate } from '../../lib/query'
import { useStore } from '../../lib/store'
import { Button, Card, Problem } from '../../ui/basic'
import { Marked, placeholders } from '../privacy/marked'
import { t } from './messages'

export function Seen({ message }: { message: string }) {
  const price = money(micros(useStore(platform)?.prices.previewUsd))
  const [shown, setShown] = useState<{ text: string; preview: Preview } | null>(null)
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState<unknown>(null)
  const show = async () => {
    setBusy(true)
    setError(null)
    try {
      const key = await needKey(t.keyName, t.summary)
      const response = await askV1(key, '/pii/preview', { text: message })
      setShown({ text: message, preview: (await response.json()) as Preview })
      invalidate('balance', 'usage', 'ledger', 'keys')
    } catch (failure) {
      if (!(failure instanceof NotSigned)) setError(failure)
    }
    setBusy(false)
  }
  return (
    <Card
      title={t.seen}
      hint={t.seenHint(price)}
      action={
        <Button icon="eye" busy={busy} disabled={!message.trim()} onClick={() => void show()}>
          {t.seenGo(price)}
        </Button>
      }
    >
      {error !== null && <Problem error={error} />}
      {shown && (
        <div class="grid two">
          <div class="stack tight">
            <p class="field-label">{t.original}</p>
            <Marked text={shown.text} entities={shown.preview.entities} />
          </div>
          <div class="stack tight">
            <p class="field-label">{t.modelGot}</p>
            <pre class="plain">{placeholders(shown.text, shown.preview.entities)}</pre>
            {shown.preview.entities.length === 0 && <p class="muted small">{t.seenNone}</p>}
          </div>
        </div>
      )}
    </Card>
  )
}

import { useState } from 'preact/hooks'
import { NotSigned } from '../../api/sign'
import { platform } from '../../api/session'
import { useModels } from '../../api/reads'
import type { Key, Limits } from '../../api/types'
import { count, shortMoment, utcDay } from '../../lib/format'
import { useStore } from '../../lib/store'
import { Button, Problem } from '../../ui/basic'
import { Check, Input, Segments, Select } from '../../ui/form'
import { t as basic } from '../../ui/messages'
import { given, raises, type Changes } from './actions'
import { t } from './messages'

interface Fields {
  name: string
  daily: string
  total: string
  rpm: string
  tpm: string
  models: string[] | null
  expiry: 'keep' | 'never' | '30' | '90' | 'date'
  date: string
}

const DAY_MS = 86_400_000
const AMOUNT = /^\d{1,9}([.,]\d{1,6})?$/

function fieldsOf(key: Key | null): Fields {
  const limits = key?.limits
  return {
    name: key?.name ?? '',
    daily: limits?.dailyUsd ?? '',
    total: limits?.totalUsd ?? '',
    rpm: limits?.rpm?.toString() ?? '',
    tpm: limits?.tpm?.toString() ?? '',
    models: limits?.models ?? null,
    expiry: key?.expiresAt ? 'keep' : 'never',
    date: key?.expiresAt?.slice(0, 10) ?? utcDay(Date.now() + 30 * DAY_MS),
  }
}

function expiresAt({ expiry, date }: Fields): string | null | undefined {
  if (expiry === 'keep') return undefined
  if (expiry === 'never') return null
  return expiry === 'date' ? `${date}T23:59:59Z` : new Date(Date.now() + Number(expiry) * DAY_MS).toISOString()
}

/** What of a key differs from before. */
function changesOf(fields: Fields, key: Key | null): Changes {
  const number = (text: string) => (text ? Number(text) : null)
  const amount = (text: string) => (text ? text.replace(',', '.') : null)
  const limits: Limits = { rpm: number(fields.rpm), tpm: number(fields.tpm), dailyUsd: amount(fields.daily), totalUsd: amount(fields.total), models: fields.models }
  const changes: Changes = {}
  if (fields.name.trim() !== key?.name) changes.name = fields.name.trim()
  const before = key ? JSON.stringify(given(key.limits)) : '{}'
  if (JSON.stringify(given(limits)) !== before) changes.limits = given(limits)
  const end = expiresAt(fields)
  if (end !== undefined && end !== (key?.expiresAt ?? null)) changes.expiresAt = end
  return changes
}

export function KeyForm({ of, onSave, onCancel }: { of: Key | null; onSave: (changes: Changes) => Promise<void>; onCancel: () => void }) {
  const offered = useStore(platform)
  const catalog = useModels()
  const [fields, setFields] = useState(() => fieldsOf(of))
  const [isTried, setIsTried] = useState(false)
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState<unknown>(null)
  const set = <N extends keyof Fields>(name: N) => (value: Fields[N]) => setFields((before) => ({ ...before, [name]: value }))
  const maxRpm = offered?.keys.maxRpm ?? 100_000
  const maxTpm = offered?.keys.maxTpm ?? 100_000_000

  const wrongAmount = (text: string) => (text && !AMOUNT.test(text) ? t.wrongAmount : undefined)
  const wrongCount = (text: string, most: number) => (text && (!/^\d+$/.test(text) || Number(text) < 1 || Number(text) > most) ? t.wrongCount(count(most)) : undefined)
  const wrong = {
    name: fields.name.trim() ? undefined : t.nameNeeded,
    daily: wrongAmount(fields.daily),
    total: wrongAmount(fields.total),
    rpm: wrongCount(fields.rpm, maxRpm),
    tpm: wrongCount(fields.tpm, maxTpm),
    models: fields.models?.length === 0 ? t.pickModel : undefined,
    date: fields.expiry === 'date' && !(Date.parse(`${fields.date}T23:59:59Z`) > Date.now()) ? t.wrongDate : undefined,
  }
  const isWrong = Object.values(wrong).some(Boolean)
  const said = (name: keyof typeof wrong) => (isTried ? wrong[name] : undefined)
  const changes = isWrong ? {} : changesOf(fields, of)

  const submit = async (event: Event) => {
    event.preventDefault()
    setIsTried(true)
    if (isWrong) return
    setBusy(true)
    setError(null)
    try {
      await onSave(changes)
    } catch (failure) {
      if (!(failure instanceof NotSigned)) setError(failure)
      setBusy(false)
    }
  }
  const expiries: [string, string][] = [
    ...(of?.expiresAt ? [['keep', `${t.keeps}: ${shortMoment(of.expiresAt)}`] as [string, string]] : []),
    ['never', t.neverExpires],
    ['30', t.inDays(30)],
    ['90', t.inDays(90)],
    ['date', t.onDate],
  ]
  return (
    <form onSubmit={submit} noValidate>
      <Input label={t.name} value={fields.name} onText={set('name')} error={said('name')} maxLength={100} autoFocus required />
      <div class="fields">
        <Input label={t.daily} before="$" inputMode="decimal" value={fields.daily} onText={set('daily')} error={said('daily')} hint={t.dailyHint} placeholder={t.noLimit} optional />
        <Input label={t.total} before="$" inputMode="decimal" value={fields.total} onText={set('total')} error={said('total')} placeholder={t.noLimit} optional />
      </div>
      <details class="more" open={!!of || isWrong}>
        <summary>{t.toggleLimits}</summary>
        <div class="stack">
          <div class="fields">
            <Input label={t.rpm} inputMode="numeric" value={fields.rpm} onText={set('rpm')} error={said('rpm')} hint={t.atMost(count(maxRpm))} />
            <Input label={t.tpm} inputMode="numeric" value={fields.tpm} onText={set('tpm')} error={said('tpm')} hint={t.atMost(count(maxTpm))} />
          </div>
          <div class="stack tight">
            <p class="field-label">{t.models}</p>
            <Segments
              label={t.models}
              value={fields.models ? 'some' : 'all'}
              options={[
                ['all', t.allModels],
                ['some', t.someModels],
              ]}
              onChoose={(choice) => set('models')(choice === 'all' ? null : [])}
            />
            {fields.models &&
              catalog.data?.map(({ id }) => (
                <Check
                  key={id}
                  label={<span class="mono">{id}</span>}
                  checked={fields.models?.includes(id) ?? false}
                  onCheck={(checked) => set('models')(checked ? [...(fields.models ?? []), id] : (fields.models ?? []).filter((one) => one !== id))}
                />
              ))}
            {said('models') && <p class="error">{said('models')}</p>}
          </div>
          <div class="fields">
            <Select label={t.expiry} value={fields.expiry} options={expiries} onText={(value) => set('expiry')(value as Fields['expiry'])} />
            {fields.expiry === 'date' && <Input label={t.date} type="date" value={fields.date} min={utcDay(Date.now())} onText={set('date')} error={said('date')} />}
          </div>
        </div>
      </details>
      {error !== null && <Problem error={error} />}
      {of && raises(of, changes) && <p class="hint">{t.raiseHint}</p>}
      <div class="actions end">
        <Button onClick={onCancel}>{basic.cancel}</Button>
        <Button look="primary" type="submit" busy={busy} disabled={!!of && !isWrong && Object.keys(changes).length === 0}>
          {of ? t.save : t.create}
        </Button>
      </div>
    </form>
  )
}

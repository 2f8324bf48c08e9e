import { useEffect, useRef, useState } from 'preact/hooks'
import { ApiError } from '../../api/client'
import { NotSigned } from '../../api/sign'
import { useBalance, useModels } from '../../api/reads'
import { platform } from '../../api/session'
import { spendingKey } from '../../api/spending-key'
import { count, micros } from '../../lib/format'
import { setQuery, useAddress } from '../../lib/router'
import { useStore } from '../../lib/store'
import { Amount, Button, ButtonLink, Card, Copy, Empty, Page, Problem } from '../../ui/basic'
import { Code } from '../../ui/code'
import { Input, Segments, Select, TextArea } from '../../ui/form'
import { Icon } from '../../ui/icon'
import { asCode, FORMS, type Form } from './code'
import { ask, bodyOf, turns, type Parameters, type Turn } from './conversation'
import { t } from './messages'
import { Seen } from './seen'

const FRESH: Parameters = { model: '', system: '', temperature: '', maxTokens: '512', privacyMode: 'off', attachments: '' }

export default function Playground() {
  const models = useModels()
  const balance = useBalance()
  const said = useStore(turns)
  const { query } = useAddress()
  const [parameters, setParameters] = useState(FRESH)
  const [text, setText] = useState('')
  const [error, setError] = useState<unknown>(null)
  const running = useRef<AbortController | null>(null)
  const isRunning = said.at(-1)?.state === 'running'
  const usable = models.data?.filter(({ available }) => available) ?? []
  const model = parameters.model || query.get('model') || usable[0]?.id || ''
  const chosen = { ...parameters, model }
  const set = <N extends keyof Parameters>(name: N) => (value: Parameters[N]) => setParameters((before) => ({ ...before, [name]: value }))

  const send = async () => {
    const asked = text.trim()
    if (!asked || isRunning || !model) return
    setError(null)
    const stop = new AbortController()
    running.current = stop
    try {
      setText('')
      await ask(asked, chosen, models.data?.find(({ id }) => id === model), stop.signal)
    } catch (failure) {
      setText(asked)
      if (!(failure instanceof NotSigned)) setError(failure)
    }
  }
  const isPoor = balance.data && micros(balance.data.available) <= 0
  const spent = said.reduce((sum, { cost }) => sum + (cost ?? 0), 0)
  const clear = said.length > 0 && (
    <Button icon="plus" disabled={isRunning} onClick={() => turns.set([])}>
      {t.clear}
    </Button>
  )
  return (
    <Page title={t.title} hint={t.hint} action={clear}>
      <div class="grid wide-first">
        <Card flush>
          <div class="talk" role="log" aria-label={t.title}>
            {said.length === 0 ? (
              isPoor ? (
                <Empty icon="card" title={t.noCredits} action={<ButtonLink look="primary" href="/dashboard/billing">{t.buy}</ButtonLink>}>
                  {t.noCreditsHint}
                </Empty>
              ) : (
                <Empty icon="chat" title={t.empty}>
                  {t.emptyHint}
                </Empty>
              )
            ) : (
              said.map((turn, index) => <Said key={index} turn={turn} />)
            )}
          </div>
          {error !== null && (
            <div class="inset">
              <Problem error={error} />
            </div>
          )}
          <form
            class="inset ask"
            onSubmit={(event) => {
              event.preventDefault()
              void send()
            }}
          >
            <TextArea
              label={t.message}
              hint={t.messageHint}
              rows={3}
              value={text}
              onText={setText}
              onKeyDown={(event) => {
                if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return
                event.preventDefault()
                void send()
              }}
            />
            <div class="row spread">
              <span class="muted small">
                {t.cost}: <Amount value={spent} /> {isRunning && `(${t.costLive})`}
              </span>
              {isRunning ? (
                <Button icon="stop" onClick={() => running.current?.abort()}>
                  {t.stop}
                </Button>
              ) : (
                <Button look="primary" type="submit" icon="play" disabled={!text.trim() || !model}>
                  {t.send}
                </Button>
              )}
            </div>
          </form>
        </Card>
        <Card title={t.parameters}>
          {models.data && usable.length === 0 ? (
            <p class="muted">{t.noModels}</p>
          ) : (
            <Select
              label={t.model}
              value={model}
              onText={(next) => {
                set('model')(next)
                setQuery({ model: next })
              }}
              options={usable.map(({ id, name }) => [id, name || id])}
            />
          )}
          <TextArea label={t.system} hint={t.systemHint} rows={2} value={parameters.system} onText={set('system')} optional />
          <div class="fields">
            <Input label={t.temperature} inputMode="decimal" placeholder="0 – 2" value={parameters.temperature} onText={set('temperature')} optional />
            <Input label={t.maxTokens} inputMode="numeric" value={parameters.maxTokens} onText={set('maxTokens')} />
          </div>
          <Select
            label={t.privacy}
            value={parameters.privacyMode}
            onText={(mode) => set('privacyMode')(mode as Parameters['privacyMode'])}
            options={[
              ['off', t.off],
              ['placeholder', t.placeholder],
              ['redact', t.redact],
              ['block', t.block],
            ]}
          />
          <TextArea label={t.attach} hint={t.attachHint} rows={2} value={parameters.attachments} onText={set('attachments')} optional />
          <KeyNote />
        </Card>
      </div>
      <Seen message={said.findLast(({ role }) => role === 'user')?.content ?? text} />
      <CopyAs parameters={chosen} said={said.length ? said : [{ role: 'user', content: text || 'Hello there' }]} />
    </Page>
  )
}

function KeyNote() {
  const key = useStore(spendingKey)
  if (!key) return null
  return (
    <p class="muted small row">
      <Icon name="key" />
      {t.keyLeft(Math.max(0, Math.round((key.expiresAt - Date.now()) / 60_000)))}
    </p>
  )
}

function Said({ turn }: { turn: Turn }) {
  const element = useRef<HTMLDivElement>(null)
  useEffect(() => {
    const box = element.current?.parentElement
    // Follows the answer, unless the reader has scrolled back.
    if (box && box.scrollHeight - box.scrollTop - box.clientHeight < 160) box.scrollTop = box.scrollHeight
  }, [turn.content])
  const isMine = turn.role === 'user'
  const isPoor = turn.error instanceof ApiError && turn.error.status === 402
  return (
    <div class={`said ${turn.role}`} ref={element}>
      <p class="said-who">{isMine ? t.you : (turn.model ?? '')}</p>
      <div class="said-text">
        {turn.content}
        {turn.state === 'running' && <span class="caret" aria-hidden="true" />}
      </div>
      {turn.state === 'failed' && (
        <div class="stack tight">
          <Problem error={turn.error} />
          {isPoor && (
            <div class="actions">
              <ButtonLink href="/dashboard/billing">{t.buy}</ButtonLink>
            </div>
          )}
        </div>
      )}
      {!isMine && turn.state !== 'failed' && (
        <p class="said-facts muted small">
          {turn.cost !== undefined && <Amount value={turn.cost} />}
          {turn.completionTokens !== undefined && <span>{t.tokens(count(turn.promptTokens ?? 0), count(turn.completionTokens))}</span>}
          {turn.hidden !== undefined && <span>{t.hidden(turn.hidden)}</span>}
          {turn.state === 'stopped' && <span>{t.stopped}</span>}
          {turn.state === 'done' && turn.requestId && <a href={`/dashboard/usage/${encodeURIComponent(turn.requestId)}`}>{t.request}</a>}
          {turn.state === 'done' && <Copy text={turn.content} what={t.answerOf(turn.model ?? '')} />}
        </p>
      )}
    </div>
  )
}

function CopyAs({ parameters, said }: { parameters: Parameters; said: Turn[] }) {
  const api = useStore(platform)?.urls.api ?? location.origin
  const [form, setForm] = useState<Form>('curl')
  const last = said.at(-1)?.role === 'assistant' ? said.slice(0, -1) : said
  return (
    <Card title={t.copyAs} action={<Segments<Form> label={t.copyAs} value={form} onChoose={setForm} options={FORMS.map(([id, name]) => [id, name])} />}>
      <Code text={asCode(form, api, bodyOf(parameters, last))} what={t.code} lang={form} />
    </Card>
  )
}

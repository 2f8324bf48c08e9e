import { useId, useState } from 'preact/hooks'
import { NotSigned } from '../../api/sign'
import { platform } from '../../api/session'
import { askV1, needKey } from '../../api/spending-key'
import type { Preview } from '../../api/types'
import { count, micros, money } from '../../lib/format'
import { invalidate } from '../../lib/query'
import { useStore } from '../../lib/store'
import { Button, Card, Page, Problem } from '../../ui/basic'
import { Code } from '../../ui/code'
import { Check, Input, Segments, Select, TextArea } from '../../ui/form'
import { Icon } from '../../ui/icon'
import { t } from './messages'
import { Result, type Examined } from './result'

const KINDS = ['image/png', 'image/jpeg', 'image/webp', 'image/gif', 'image/bmp', 'application/pdf']
const MOST_BYTES = 14 << 20
const SAMPLE = 'Hi, I am Jane Miller from Springfield. Mail jane.miller@example.com or call +1 415 555 2671. My card is 4111 1111 1111 1111, my SSN 536-90-4399, and the key is sk-proj-9aF3kQ0vT8mZ1xYb7LcD2eWn.'

interface Options {
  threshold: number
  model: 'rules' | 'fast' | 'accurate'
  faces: boolean
  only: string
}

interface PickedFile {
  name: string
  type: string
  dataUrl: string
  size: number
}

function bodyOf(way: 'text' | 'file', text: string, file: PickedFile | null, options: Options): object {
  const piiEntities = options.only.split(/[\s,]+/).filter(Boolean)
  const piiConfig = { threshold: options.threshold, model: options.model, ...(way === 'file' ? { faceBlur: options.faces } : {}) }
  const settings = { ...(piiEntities.length ? { piiEntities } : {}), piiConfig }
  if (way === 'text' || !file) return { text, ...settings }
  return file.type === 'application/pdf' ? { pdfs: [file.dataUrl], ...settings } : { images: [file.dataUrl], ...settings }
}

export default function Privacy() {
  const offered = useStore(platform)
  const [way, setWay] = useState<'text' | 'file'>('text')
  const [text, setText] = useState('')
  const [file, setFile] = useState<PickedFile | null>(null)
  const [options, setOptions] = useState<Options>({ threshold: 0.5, model: 'fast', faces: true, only: '' })
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState<unknown>(null)
  const [examined, setExamined] = useState<Examined | null>(null)
  const set = <N extends keyof Options>(name: N) => (value: Options[N]) => setOptions((before) => ({ ...before, [name]: value }))
  const price = money(micros(offered?.prices.previewUsd))
  const isReady = way === 'text' ? text.trim() !== '' : file !== null

  const examine = async () => {
    setBusy(true)
    setError(null)
    try {
      const key = await needKey(t.keyName, t.summary)
      const response = await askV1(key, '/pii/preview', bodyOf(way, text, file, options))
      setExamined({ text: way === 'text' ? text : null, file: way === 'file' ? file : null, preview: (await response.json()) as Preview })
      invalidate('balance', 'usage', 'ledger', 'keys')
    } catch (failure) {
      if (!(failure instanceof NotSigned)) {
        setError(failure)
        setExamined(null)
      }
    }
    setBusy(false)
  }
  const shown = JSON.stringify(bodyOf(way, text || 'Mail jane@example.com', file && { ...file, dataUrl: `data:${file.type};base64,…` }, options), null, 2)
  const curl = `curl ${offered?.urls.api ?? ''}/v1/pii/preview \\\n  -H "Authorization: Bearer $API_KEY" \\\n  -H "Content-Type: application/json" \\\n  -d '${shown.replaceAll("'", `'\\''`)}'`
  return (
    <Page title={t.title} hint={t.hint}>
      <div class="grid wide-first">
        <Card>
          <Segments
            label={t.what}
            value={way}
            onChoose={setWay}
            options={[
              ['text', t.text],
              ['file', t.file],
            ]}
          />
          {way === 'text' ? (
            <>
              <TextArea label={t.yourText} rows={8} value={text} onText={setText} spellcheck={false} />
              <div class="actions">
                <Button small look="quiet" onClick={() => setText(SAMPLE)}>
                  {t.sample}
                </Button>
              </div>
            </>
          ) : (
            <FilePart file={file} onFile={setFile} />
          )}
          {error !== null && <Problem error={error} />}
          <div class="row spread">
            <span class="muted small">{t.priceHint}</span>
            <Button look="primary" icon="shield" busy={busy} disabled={!isReady} onClick={() => void examine()}>
              {busy ? t.examining : t.examine(price)}
            </Button>
          </div>
        </Card>
        <Card title={t.options}>
          <Threshold value={options.threshold} onChange={set('threshold')} />
          <Select
            label={t.names}
            value={options.model}
            onText={(model) => set('model')(model as Options['model'])}
            options={[
              ['fast', t.fast],
              ['accurate', t.accurate],
              ['rules', t.rules],
            ]}
          />
          <Input label={t.only} hint={t.onlyHint} value={options.only} onText={set('only')} spellcheck={false} optional />
          {way === 'file' && <Check label={t.faces} checked={options.faces} onCheck={set('faces')} />}
        </Card>
      </div>
      <div role="status" aria-live="polite">
        {examined && <Result examined={examined} />}
      </div>
      <Card title={t.asCode}>
        <Code text={curl} what={t.code} lang="sh" />
      </Card>
    </Page>
  )
}

function Threshold({ value, onChange }: { value: number; onChange: (value: number) => void }) {
  const id = useId()
  return (
    <div class="field">
      <label for={id}>{t.threshold}</label>
      <input type="range" id={id} min="0" max="1" step="0.05" value={value} aria-describedby={`${id}-hint`} onInput={(event) => onChange(Number(event.currentTarget.value))} />
      <p class="hint" id={`${id}-hint`}>
        {t.thresholdHint(value.toFixed(2))}
      </p>
    </div>
  )
}

function FilePart({ file, onFile }: { file: PickedFile | null; onFile: (file: PickedFile | null) => void }) {
  const id = useId()
  const [isOver, setIsOver] = useState(false)
  const [said, setSaid] = useState<string | null>(null)
  const take = (picked: File | undefined) => {
    setSaid(null)
    if (!picked) return
    if (!KINDS.includes(picked.type)) return setSaid(t.wrongKind)
    if (picked.size > MOST_BYTES) return setSaid(t.tooLarge(`${count(MOST_BYTES >> 20)} MB`))
    const reader = new FileReader()
    reader.onload = () => onFile({ name: picked.name, type: picked.type, size: picked.size, dataUrl: String(reader.result) })
    reader.readAsDataURL(picked)
  }
  return (
    <div class="stack tight">
      <label
        class={`drop${isOver ? ' over' : ''}`}
        for={id}
        onDragOver={(event) => {
          event.preventDefault()
          setIsOver(true)
        }}
        onDragLeave={() => setIsOver(false)}
        onDrop={(event) => {
          event.preventDefault()
          setIsOver(false)
          take(event.dataTransfer?.files[0])
        }}
      >
        <Icon name={file?.type === 'application/pdf' ? 'file' : 'image'} size={20} />
        {file ? (
          <span>
            <span class="strong">{file.name}</span> <span class="muted">{count(Math.ceil(file.size / 1024))} kB</span>
          </span>
        ) : (
          <span>{t.drop}</span>
        )}
        <input id={id} type="file" class="unseen" accept={KINDS.join(',')} onChange={(event) => take(event.currentTarget.files?.[0])} />
      </label>
      {said && (
        <p class="error" role="alert">
          {said}
        </p>
      )}
      {file && (
        <div class="actions">
          <Button small look="quiet" icon="x" onClick={() => onFile(null)}>
            {t.remove}
          </Button>
        </div>
      )}
    </div>
  )
}

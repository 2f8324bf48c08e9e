import { useState } from 'preact/hooks'
import { useModels } from '../api/reads'
import { platform } from '../api/session'
import type { Model } from '../api/types'
import { count, micros, money, short } from '../lib/format'
import { catalogue } from '../lib/i18n'
import { setQuery, useAddress } from '../lib/router'
import { useStore } from '../lib/store'
import { Amount, Badge, Card, Copy, Empty, Page, Problem, Skeleton } from '../ui/basic'
import { itemName } from '../ui/entries'
import { Input } from '../ui/form'
import { Table, type Column } from '../ui/table'

const t = catalogue(
  {
    title: 'Models',
    hint: 'Prices in dollars. What you are billed is the usage that you are told, to the millionth of a dollar.',
    model: 'Model',
    modelId: 'model id',
    input: 'Input, 1M tokens',
    output: 'Output, 1M tokens',
    chunk: 'On a channel, a chunk',
    context: 'Context',
    longest: 'Longest answer',
    state: 'Availability',
    available: 'Available',
    away: 'Not answering',
    notSold: 'Not sold so',
    items: 'Also',
    calculator: 'What will it cost?',
    calculatorHint: 'All models for the same work, the cheapest first.',
    promptTokens: 'Input tokens a request',
    answerTokens: 'Output tokens a request',
    requests: 'Requests a month',
    words: (words: string) => `about ${words} words`,
    perRequest: 'A request',
    perMonth: 'A month',
    search: 'Search',
    none: 'No models',
    noneHint: 'The operator of this server sells none at the moment.',
    noneFound: 'No model matches',
    preview: 'Privacy check',
    previewHint: (price: string) => `Personal data in a text, an image or a PDF costs ${price} a request, whatever it holds.`,
    tooLong: 'Longer than its context',
    try: 'Try it',
  },
  {
    title: 'Modelle',
    hint: 'Preise in Dollar. Berechnet wird der Verbrauch, der Ihnen genannt wird, auf den millionstel Dollar genau.',
    model: 'Modell',
    modelId: 'Modell-Kennung',
    input: 'Eingabe, 1 Mio. Token',
    output: 'Ausgabe, 1 Mio. Token',
    chunk: 'Auf einem Kanal, je Stück',
    context: 'Kontext',
    longest: 'Längste Antwort',
    state: 'Verfügbarkeit',
    available: 'Verfügbar',
    away: 'Antwortet nicht',
    notSold: 'So nicht verkauft',
    items: 'Außerdem',
    calculator: 'Was wird es kosten?',
    calculatorHint: 'Alle Modelle für dieselbe Arbeit, das günstigste zuerst.',
    promptTokens: 'Eingabe-Token je Anfrage',
    answerTokens: 'Ausgabe-Token je Anfrage',
    requests: 'Anfragen im Monat',
    words: (words) => `etwa ${words} Wörter`,
    perRequest: 'Eine Anfrage',
    perMonth: 'Ein Monat',
    search: 'Suchen',
    none: 'Keine Modelle',
    noneHint: 'Der Betreiber dieses Servers verkauft zurzeit keine.',
    noneFound: 'Kein Modell passt',
    preview: 'Datenschutzprüfung',
    previewHint: (price) => `Personenbezogene Daten in einem Text, Bild oder PDF zu finden kostet ${price} je Anfrage, was immer es enthält.`,
    tooLong: 'Länger als sein Kontext',
    try: 'Ausprobieren',
  },
)

export default function Models() {
  const models = useModels()
  const offered = useStore(platform)
  const search = useAddress().query.get('q') ?? ''
  const rows = models.data?.filter(({ id, name }) => `${id} ${name ?? ''}`.toLowerCase().includes(search.toLowerCase()))
  return (
    <Page title={t.title} hint={t.hint}>
      {(models.data?.length ?? 0) > 8 && <Input label={t.search} type="search" value={search} onText={(q) => setQuery({ q })} />}
      <Card flush>
        {rows?.length ? (
          <Table caption={t.title} columns={columns()} rows={rows} id={({ id }) => id} order="models" />
        ) : models.data ? (
          <Empty icon="cube" title={search ? t.noneFound : t.none}>
            {search ? '' : t.noneHint}
          </Empty>
        ) : (
          <div class="inset">{models.error ? <Problem error={models.error} retry={models.reload} /> : <Skeleton lines={5} />}</div>
        )}
      </Card>
      {models.data && models.data.length > 0 && <Calculator models={models.data} />}
      {offered && (
        <Card title={t.preview}>
          <p class="muted">
            {t.previewHint(money(micros(offered.prices.previewUsd)))} <a href="/dashboard/privacy">{t.try}</a>
          </p>
        </Card>
      )}
    </Page>
  )
}

const price = (text: string | null) => (text === null ? <span class="muted" title={t.notSold}>–</span> : <Amount value={text} />)

function columns(): Column<Model>[] {
  return [
    {
      name: 'model',
      title: t.model,
      sort: ({ id }) => id,
      cell: ({ id, name, description, prices }) => (
        <span>
          <span class="row model-name">
            <span class="strong">{name || id}</span>
            <Copy text={id} what={t.modelId} />
          </span>
          <span class="sub">{name && name !== id ? <span class="mono">{id}</span> : description}</span>
          {prices.items && Object.keys(prices.items).length > 0 && (
            <span class="sub">
              {t.items}: {Object.entries(prices.items).map(([item, value]) => `${itemName(item)} ${money(micros(value))}`).join(', ')}
            </span>
          )}
        </span>
      ),
    },
    { name: 'input', title: t.input, end: true, sort: ({ prices }) => micros(prices.inputPerMillion), cell: ({ prices }) => price(prices.inputPerMillion) },
    { name: 'output', title: t.output, end: true, sort: ({ prices }) => micros(prices.outputPerMillion), cell: ({ prices }) => price(prices.outputPerMillion) },
    { name: 'chunk', title: t.chunk, end: true, minor: true, sort: ({ prices }) => micros(prices.perChunk), cell: ({ prices }) => price(prices.perChunk) },
    { name: 'context', title: t.context, end: true, sort: ({ contextLength }) => contextLength, cell: ({ contextLength }) => <span title={count(contextLength)}>{short(contextLength)}</span> },
    { name: 'longest', title: t.longest, end: true, minor: true, sort: ({ maxOutputTokens }) => maxOutputTokens, cell: ({ maxOutputTokens }) => <span title={count(maxOutputTokens)}>{short(maxOutputTokens)}</span> },
    { name: 'state', title: t.state, end: true, sort: ({ available }) => Number(available), cell: ({ available }) => <Badge tone={available ? 'good' : 'warn'}>{available ? t.available : t.away}</Badge> },
  ]
}

const WORDS_PER_TOKEN = 0.75

function Calculator({ models }: { models: Model[] }) {
  const [input, setInput] = useState('2000')
  const [output, setOutput] = useState('500')
  const [requests, setRequests] = useState('10000')
  const number = (text: string) => Math.min(Number(text.replace(/\D/g, '')) || 0, 1e9)
  const [prompt, answer, many] = [number(input), number(output), number(requests)]
  const costs = models
    .filter(({ prices }) => prices.inputPerMillion !== null && prices.outputPerMillion !== null)
    .map((model) => {
      const { prices } = model
      const tokens = (prompt * micros(prices.inputPerMillion) + answer * micros(prices.outputPerMillion)) / 1e6
      return { model, each: tokens + micros(prices.items?.['request']), fits: prompt + answer <= model.contextLength }
    })
    .sort((a, b) => Number(b.fits) - Number(a.fits) || a.each - b.each)
  const most = Math.max(...costs.map(({ each }) => each), 1)
  return (
    <Card title={t.calculator} hint={t.calculatorHint}>
      <div class="fields">
        <Input label={t.promptTokens} inputMode="numeric" value={input} onText={setInput} hint={t.words(short(prompt * WORDS_PER_TOKEN))} />
        <Input label={t.answerTokens} inputMode="numeric" value={output} onText={setOutput} hint={t.words(short(answer * WORDS_PER_TOKEN))} />
        <Input label={t.requests} inputMode="numeric" value={requests} onText={setRequests} />
      </div>
      <table class="table plain" aria-live="polite">
        <caption class="unseen">{t.calculator}</caption>
        <thead>
          <tr>
            <th scope="col">{t.model}</th>
            <th scope="col" class="end">
              {t.perRequest}
            </th>
            <th scope="col" class="end">
              {t.perMonth}
            </th>
          </tr>
        </thead>
        <tbody>
          {costs.map(({ model, each, fits }) => (
            <tr key={model.id}>
              <td>
                {model.name || model.id}
                <span class="meter thin" aria-hidden="true">
                  <span style={{ inlineSize: `${fits ? (each / most) * 100 : 0}%` }} />
                </span>
              </td>
              <td class="end">{fits ? <Amount value={Math.round(each)} /> : <span class="muted">{t.tooLong}</span>}</td>
              <td class="end">{fits ? <Amount value={Math.round(each * many)} rounded /> : ''}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Card>
  )
}

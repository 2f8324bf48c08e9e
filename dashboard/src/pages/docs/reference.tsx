// The OpenAPI document of this server as pages.
import { useEffect, useState } from 'preact/hooks'
import { problem, program } from '../../api/client'
import { platform } from '../../api/session'
import { catalogue } from '../../lib/i18n'
import { useQuery } from '../../lib/query'
import { setQuery, useAddress } from '../../lib/router'
import { useStore } from '../../lib/store'
import { Badge, Card, Empty, Problem, Skeleton } from '../../ui/basic'
import { Code } from '../../ui/code'
import { Input } from '../../ui/form'

const t = catalogue(
  {
    search: 'Search',
    searchHint: 'Path or words',
    parameters: 'Parameters',
    body: 'Request body',
    answers: 'Answers',
    name: 'Name',
    type: 'Type',
    meaning: 'Meaning',
    required: 'required',
    none: 'No route matches',
    noneHint: 'Try a part of a path, such as keys.',
    example: 'Example',
    where: 'In',
  },
  {
    search: 'Suchen',
    searchHint: 'Pfad oder Wörter',
    parameters: 'Parameter',
    body: 'Rumpf der Anfrage',
    answers: 'Antworten',
    name: 'Name',
    type: 'Typ',
    meaning: 'Bedeutung',
    required: 'erforderlich',
    none: 'Keine Route passt',
    noneHint: 'Versuchen Sie einen Teil eines Pfads, etwa keys.',
    example: 'Beispiel',
    where: 'In',
  },
)

interface Schema {
  $ref?: string
  type?: string | string[]
  description?: string
  properties?: Record<string, Schema>
  required?: string[]
  items?: Schema
  oneOf?: Schema[]
  anyOf?: Schema[]
  allOf?: Schema[]
  enum?: unknown[]
  example?: unknown
  examples?: unknown[]
}
interface Operation {
  summary?: string
  description?: string
  tags?: string[]
  operationId?: string
  parameters?: { name: string; in: string; description?: string; required?: boolean; schema?: Schema }[]
  requestBody?: { content?: Record<string, { schema?: Schema }> }
  responses?: Record<string, { description?: string }>
}
interface Document {
  paths: Record<string, Record<string, Operation>>
  components?: { schemas?: Record<string, Schema> }
}

const METHODS = ['get', 'post', 'put', 'patch', 'delete']
const TONES = { get: 'good', post: 'accent', put: 'accent', patch: 'warn', delete: 'bad' } as const

async function load(): Promise<Document> {
  const response = await program('/openapi-full.json')
  if (!response.ok) throw await problem(response)
  return (await response.json()) as Document
}

export function Reference() {
  const read = useQuery('openapi', load)
  const search = useAddress().query.get('q') ?? ''
  if (read.error && !read.data) return <Problem error={read.error} retry={read.reload} />
  if (!read.data) return <Skeleton lines={12} />
  const document = read.data
  const all = Object.entries(document.paths).flatMap(([path, methods]) => METHODS.filter((method) => methods[method]).map((method) => ({ path, method, operation: methods[method] as Operation })))
  const words = search.toLowerCase().split(/\s+/).filter(Boolean)
  const found = all.filter(({ path, method, operation }) => words.every((word) => `${method} ${path} ${operation.summary ?? ''}`.toLowerCase().includes(word)))
  const tags = [...new Set(found.map(({ operation }) => operation.tags?.[0] ?? ''))]
  return (
    <div class="stack">
      <Input label={t.search} type="search" placeholder={t.searchHint} value={search} onText={(q) => setQuery({ q })} />
      {found.length === 0 && (
        <Empty icon="search" title={t.none}>
          {t.noneHint}
        </Empty>
      )}
      {tags.map((tag) => (
        <Card key={tag} flush title={tag}>
          {found
            .filter(({ operation }) => (operation.tags?.[0] ?? '') === tag)
            .map(({ path, method, operation }) => (
              <Route key={method + path} {...{ path, method, operation, document }} />
            ))}
        </Card>
      ))}
    </div>
  )
}

function Route({ path, method, operation, document }: { path: string; method: string; operation: Operation; document: Document }) {
  const id = operation.operationId ?? method + path
  const [isOpen, setIsOpen] = useState(location.hash === `#${id}`)
  useEffect(() => {
    if (location.hash === `#${id}`) window.document.getElementById(id)?.scrollIntoView()
  }, [id])
  return (
    <details class="route" id={id} open={isOpen} onToggle={(event) => setIsOpen(event.currentTarget.open)}>
      <summary>
        <Badge tone={TONES[method as keyof typeof TONES] ?? 'quiet'}>{method.toUpperCase()}</Badge>
        <code class="mono">{path}</code>
        <span class="muted small">{operation.summary}</span>
      </summary>
      {isOpen && <RouteBody {...{ path, method, operation, document }} />}
    </details>
  )
}

function RouteBody({ path, method, operation, document }: { path: string; method: string; operation: Operation; document: Document }) {
  const api = useStore(platform)?.urls.api ?? location.origin
  const schema = resolve(operation.requestBody?.content?.['application/json']?.schema, document)
  const text = operation.description?.replace(operation.summary ?? '', '').trim()
  const sample = schema && example(schema, document)
  const auth = path.startsWith('/v1') ? ' \\\n  -H "Authorization: Bearer $API_KEY"' : ''
  const curl = `curl${method === 'get' ? '' : ` -X ${method.toUpperCase()}`} ${api}${path}${auth}${sample ? ` \\\n  -H "Content-Type: application/json" \\\n  -d '${JSON.stringify(sample, null, 2)}'` : ''}`
  return (
    <div class="stack route-body">
      {text && <p>{text}</p>}
      {operation.parameters && operation.parameters.length > 0 && (
        <Fields title={t.parameters} rows={operation.parameters.map((one) => ({ name: one.name, type: `${typeName(one.schema)}, ${one.in}`, meaning: one.description ?? '', required: !!one.required }))} />
      )}
      {schema?.properties && (
        <Fields
          title={t.body}
          rows={Object.entries(schema.properties).map(([name, member]) => ({ name, type: typeName(member), meaning: resolve(member, document)?.description ?? member.description ?? '', required: schema.required?.includes(name) ?? false }))}
        />
      )}
      <Fields title={t.answers} rows={Object.entries(operation.responses ?? {}).map(([status, { description }]) => ({ name: status, type: '', meaning: description ?? '', required: false }))} />
      <Code text={curl} what={t.example} lang="sh" />
    </div>
  )
}

function Fields({ title, rows }: { title: string; rows: { name: string; type: string; meaning: string; required: boolean }[] }) {
  return (
    <div class="stack tight">
      <h3>{title}</h3>
      <dl class="params">
        {rows.map(({ name, type, meaning, required }) => (
          <div key={name + type}>
            <dt>
              <code class="mono">{name}</code>
              {type && <span class="muted small"> {type}</span>}
              {required && <span class="muted small"> ({t.required})</span>}
            </dt>
            <dd class="muted">{meaning}</dd>
          </div>
        ))}
      </dl>
    </div>
  )
}

function resolve(schema: Schema | undefined, document: Document): Schema | undefined {
  const name = schema?.$ref?.split('/').at(-1)
  const found = name ? document.components?.schemas?.[name] : schema
  const parts = found?.allOf
  if (!found || !parts) return found
  const merged = parts.map((part) => resolve(part, document) ?? {})
  return { ...found, properties: Object.assign({}, ...merged.map((part) => part.properties ?? {})) as Record<string, Schema>, required: merged.flatMap((part) => part.required ?? []) }
}

function typeName(schema: Schema | undefined): string {
  if (!schema) return ''
  if (schema.$ref) return schema.$ref.split('/').at(-1) ?? ''
  const either = schema.oneOf ?? schema.anyOf
  if (either) return [...new Set(either.map(typeName))].filter((name) => name !== 'null').join(' | ')
  if (schema.enum) return schema.enum.join(' | ')
  const types = [schema.type ?? []].flat().filter((name) => name !== 'null')
  return types.includes('array') ? `${typeName(schema.items)}[]` : types.join(' | ')
}

/** A body of what the document has examples of. */
function example(schema: Schema, document: Document): Record<string, unknown> | undefined {
  const members = Object.entries(schema.properties ?? {}).flatMap(([name, member]) => {
    const found = resolve(member, document)
    const value = member.example ?? found?.example ?? found?.examples?.[0]
    return value === undefined ? [] : [[name, value] as const]
  })
  return members.length ? Object.fromEntries(members) : undefined
}

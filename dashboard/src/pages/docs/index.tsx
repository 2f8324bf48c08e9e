import type { ComponentChildren, ComponentType } from 'preact'
import { h } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { useModels } from '../../api/reads'
import { platform } from '../../api/session'
import { catalogue } from '../../lib/i18n'
import { useAddress } from '../../lib/router'
import { useStore } from '../../lib/store'
import { Page, Problem, Skeleton } from '../../ui/basic'
import { Code } from '../../ui/code'
import { Icon, type IconName } from '../../ui/icon'

type Tree = string | [tag: string, properties: Record<string, string>, ...children: Tree[]]
interface Guide {
  title: string
  headings: { text: string; id: string }[]
  blocks: Tree[]
}

const t = catalogue(
  {
    title: 'Documentation',
    hint: 'Examples have this server’s address and a model that it sells.',
    developer: 'Applications',
    developerHint: 'OpenAI’s client with a key: streaming, limits, pages and PDFs, privacy.',
    agent: 'Agents',
    agentHint: 'Pay by the request over HTTP 402, without an account.',
    wallet: 'Wallets',
    walletHint: 'Manage keys and credits by signature, buy on the chain.',
    mcp: 'MCP clients',
    mcpHint: 'Connect Codex, Claude Code and others.',
    operator: 'Operators',
    operatorHint: 'Run a server of your own.',
    reference: 'API reference',
    referenceHint: 'Every route, from the OpenAPI document of this server.',
    onPage: 'On this page',
    pages: 'Pages of the documentation',
    code: 'code',
    english: '',
  },
  {
    title: 'Dokumentation',
    hint: 'Beispiele haben die Adresse dieses Servers und ein Modell, das er verkauft.',
    developer: 'Anwendungen',
    developerHint: 'OpenAIs Client mit einem Schlüssel: Streaming, Grenzen, Seiten und PDFs, Datenschutz.',
    agent: 'Agenten',
    agentHint: 'Je Anfrage über HTTP 402 bezahlen, ohne Konto.',
    wallet: 'Wallets',
    walletHint: 'Schlüssel und Guthaben per Unterschrift verwalten, auf der Chain kaufen.',
    mcp: 'MCP-Programme',
    mcpHint: 'Codex, Claude Code und andere verbinden.',
    operator: 'Betreiber',
    operatorHint: 'Einen eigenen Server betreiben.',
    reference: 'API-Referenz',
    referenceHint: 'Jede Route, aus dem OpenAPI-Dokument dieses Servers.',
    onPage: 'Auf dieser Seite',
    pages: 'Seiten der Dokumentation',
    code: 'Code',
    english: 'Die Anleitungen sind auf Englisch.',
  },
)

interface Entry {
  id: string
  icon: IconName
  title: () => string
  hint: () => string
  load: () => Promise<{ default: Guide }>
}

const GUIDES: Entry[] = [
  { id: 'developer', icon: 'cube', title: () => t.developer, hint: () => t.developerHint, load: () => import('virtual:guide/developer') },
  { id: 'agent', icon: 'bolt', title: () => t.agent, hint: () => t.agentHint, load: () => import('virtual:guide/agent') },
  { id: 'wallet', icon: 'wallet', title: () => t.wallet, hint: () => t.walletHint, load: () => import('virtual:guide/wallet') },
  { id: 'mcp', icon: 'plug', title: () => t.mcp, hint: () => t.mcpHint, load: () => import('virtual:guide/mcp') },
  { id: 'operator', icon: 'gear', title: () => t.operator, hint: () => t.operatorHint, load: () => import('virtual:guide/operator') },
]

export default function Docs({ rest }: { rest: string }) {
  const guide = GUIDES.find(({ id }) => id === rest)
  if (guide) return <GuidePage key={guide.id} entry={guide} />
  if (rest === 'reference' || rest.startsWith('reference/')) return <ReferencePage />
  return (
    <Page title={t.title} hint={`${t.hint} ${t.english}`}>
      <ul class="grid two">
        {[...GUIDES, { id: 'reference', icon: 'book' as IconName, title: () => t.reference, hint: () => t.referenceHint }].map(({ id, icon, title, hint }) => (
          <li key={id}>
            <a class="card tile" href={`/dashboard/docs/${id}`}>
              <Icon name={icon} size={20} />
              <span>
                <span class="strong ink">{title()}</span>
                <span class="sub muted">{hint()}</span>
              </span>
            </a>
          </li>
        ))}
      </ul>
    </Page>
  )
}

function Subpages({ current }: { current: string }) {
  return (
    <nav aria-label={t.pages}>
      <ul class="subpages">
        {[...GUIDES.map(({ id, title }) => ({ id, title: title() })), { id: 'reference', title: t.reference }].map(({ id, title }) => (
          <li key={id}>
            <a href={`/dashboard/docs/${id}`} aria-current={id === current ? 'page' : undefined}>
              {title}
            </a>
          </li>
        ))}
      </ul>
    </nav>
  )
}

/** Loads something once, and shows what became of it. */
function Loaded<T>({ load, children }: { load: () => Promise<T>; children: (value: T) => ComponentChildren }) {
  const [value, setValue] = useState<T | undefined>(undefined)
  const [error, setError] = useState<unknown>(null)
  useEffect(() => {
    load().then((found) => setValue(() => found), setError)
  }, [])
  if (error !== null) return <Problem error={error} />
  return value === undefined ? <Skeleton lines={12} /> : <>{children(value)}</>
}

function GuidePage({ entry }: { entry: Entry }) {
  return (
    <Page title={entry.title()} hint={t.english}>
      <Subpages current={entry.id} />
      <Loaded load={entry.load}>{({ default: guide }) => <Article guide={guide} />}</Loaded>
    </Page>
  )
}

const TAGS = new Set(['h2', 'h3', 'h4', 'p', 'ul', 'ol', 'li', 'strong', 'em', 'code', 'br', 'blockquote', 'thead', 'tbody', 'tr', 'th', 'td'])

function Article({ guide }: { guide: Guide }) {
  const offered = useStore(platform)
  const models = useModels()
  const { hash } = useAddress()
  useEffect(() => {
    if (hash) document.getElementById(hash)?.scrollIntoView()
  }, [hash, guide])
  const api = offered?.urls.api ?? location.origin
  const model = models.data?.find(({ available }) => available)?.id
  /** The reader's own server and model, in the places of those of the guide. */
  const own = (text: string) => {
    const here = text.replaceAll('http://localhost:8402', api).replaceAll('https://api.example.com', api)
    return model ? here.replaceAll('dev-scripted', model) : here
  }
  const draw = (node: Tree, index: number): ComponentChildren => {
    if (typeof node === 'string') return own(node)
    const [tag, properties, ...children] = node
    if (tag === 'pre') return <Code key={index} text={own(String(children[0] ?? ''))} what={t.code} lang={properties['lang']} />
    const inside = children.map(draw)
    if (tag === 'a') {
      const href = properties['href'] ?? ''
      return href.startsWith('https:') ? h('a', { key: index, href, target: '_blank', rel: 'noopener noreferrer' }, inside) : h('a', { key: index, href }, inside)
    }
    if (tag === 'table') {
      return (
        <div key={index} class="table-box" tabIndex={0}>
          <table class="table plain">{inside}</table>
        </div>
      )
    }
    return TAGS.has(tag) ? h(tag, { key: index, ...(properties['id'] ? { id: properties['id'] } : {}) }, inside) : inside
  }
  return (
    <div class="doc-grid">
      <article class="doc">{guide.blocks.map(draw)}</article>
      <nav class="toc" aria-label={t.onPage}>
        <p class="field-label">{t.onPage}</p>
        <ul>
          {guide.headings.map(({ id, text }) => (
            <li key={id}>
              <a href={`#${id}`}>{text}</a>
            </li>
          ))}
        </ul>
      </nav>
    </div>
  )
}

function ReferencePage() {
  return (
    <Page title={t.reference} hint={t.referenceHint}>
      <Subpages current="reference" />
      <Loaded load={() => import('./reference')}>{({ Reference }: { Reference: ComponentType }) => <Reference />}</Loaded>
    </Page>
  )
}

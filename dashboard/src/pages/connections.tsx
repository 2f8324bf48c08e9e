import { useState } from 'preact/hooks'
import { api, get } from '../api/client'
import { platform } from '../api/session'
import { useKeys } from '../api/reads'
import type { Grant } from '../api/types'
import { catalogue } from '../lib/i18n'
import { shortMoment } from '../lib/format'
import { invalidate, useQuery } from '../lib/query'
import { useStore } from '../lib/store'
import { Badge, Button, ButtonLink, Card, Empty, Page, Problem, Skeleton, Time } from '../ui/basic'
import { Code } from '../ui/code'
import { Dialog } from '../ui/dialog'
import { Segments } from '../ui/form'
import { Icon } from '../ui/icon'
import { t as basic } from '../ui/messages'
import { Spent } from '../ui/spent'

const t = catalogue(
  {
    title: 'Connected programs',
    hint: 'Coding agents and assistants that use your account by MCP. They never see a key.',
    none: 'No program is connected',
    noneHint: 'Connect Codex, Claude Code or another MCP client. It opens a page where you say what it may do and spend.',
    connect: 'Connect a program',
    connectHint: 'Run this where the program is installed. It opens a page of this server, and your wallet signs what you allow.',
    command: 'command',
    claims: 'The name is the program’s own claim.',
    granted: 'Connected',
    used: 'Last used',
    expires: 'Ends',
    never: 'Never',
    today: 'Today',
    total: 'In all',
    change: 'Change limits',
    end: 'Disconnect',
    endTitle: (name: string) => `Disconnect ${name}?`,
    endHint: 'Its access ends within a second, running answers included. It can ask you again.',
    chat: 'Ask models',
    pii: 'Remove personal data',
    accountRead: 'See balance, spending and names of keys',
    keysWrite: 'Revoke keys',
    guide: 'Guide for MCP clients',
    off: 'This server has no MCP endpoint.',
    other: 'Other',
  },
  {
    title: 'Verbundene Programme',
    hint: 'Coding-Agenten und Assistenten, die Ihr Konto über MCP benutzen. Sie sehen nie einen Schlüssel.',
    none: 'Kein Programm ist verbunden',
    noneHint: 'Verbinden Sie Codex, Claude Code oder ein anderes MCP-Programm. Es öffnet eine Seite, auf der Sie sagen, was es tun und ausgeben darf.',
    connect: 'Ein Programm verbinden',
    connectHint: 'Führen Sie das dort aus, wo das Programm ist. Es öffnet eine Seite dieses Servers, und Ihre Wallet unterschreibt, was Sie erlauben.',
    command: 'Befehl',
    claims: 'Den Namen nennt das Programm selbst.',
    granted: 'Verbunden',
    used: 'Zuletzt benutzt',
    expires: 'Endet',
    never: 'Nie',
    today: 'Heute',
    total: 'Insgesamt',
    change: 'Grenzen ändern',
    end: 'Trennen',
    endTitle: (name) => `${name} trennen?`,
    endHint: 'Der Zugang endet binnen einer Sekunde, auch laufende Antworten. Das Programm kann Sie wieder fragen.',
    chat: 'Modelle fragen',
    pii: 'Personenbezogene Daten entfernen',
    accountRead: 'Guthaben, Ausgaben und Namen der Schlüssel sehen',
    keysWrite: 'Schlüssel widerrufen',
    guide: 'Anleitung für MCP-Programme',
    off: 'Dieser Server hat keinen MCP-Zugang.',
    other: 'Andere',
  },
)

const scopeName = (scope: string): string => {
  const names: Record<string, string> = { chat: t.chat, pii: t.pii, 'account:read': t.accountRead, 'keys:write': t.keysWrite }
  return names[scope] ?? scope
}

export default function Connections() {
  const grants = useQuery('grants', async () => (await get<{ grants: Grant[] }>('/oauth/grants')).grants)
  const [ending, setEnding] = useState<Grant | null>(null)
  return (
    <Page title={t.title} hint={t.hint}>
      {grants.data?.length ? (
        <div class="grid two">
          {grants.data.map((grant) => (
            <GrantCard key={grant.id} grant={grant} onEnd={() => setEnding(grant)} />
          ))}
        </div>
      ) : (
        <Card flush>
          {grants.data ? (
            <Empty icon="plug" title={t.none}>
              {t.noneHint}
            </Empty>
          ) : (
            <div class="inset">{grants.error ? <Problem error={grants.error} retry={grants.reload} /> : <Skeleton lines={4} />}</div>
          )}
        </Card>
      )}
      <Connect />
      {ending && <EndDialog grant={ending} onClose={() => setEnding(null)} />}
    </Page>
  )
}

function GrantCard({ grant, onEnd }: { grant: Grant; onEnd: () => void }) {
  const key = useKeys().data?.find(({ id }) => id === grant.id)
  const host = /^https?:\/\//.test(grant.client.id) ? new URL(grant.client.id).host : null
  return (
    <Card title={grant.client.name} hint={host ?? t.claims} action={<Badge tone="good">{t.granted}</Badge>}>
      <ul class="row">
        {grant.scopes.map((scope) => (
          <li key={scope}>
            <Badge>{scopeName(scope)}</Badge>
          </li>
        ))}
      </ul>
      <dl class="facts">
        <dt>{t.today}</dt>
        <dd>
          <Spent spent={key?.spend?.todayUsd} limit={grant.limits.dailyUsd} />
        </dd>
        <dt>{t.total}</dt>
        <dd>
          <Spent spent={key?.spend?.totalUsd} limit={grant.limits.totalUsd} />
        </dd>
        <dt>{t.used}</dt>
        <dd>{grant.lastUsedAt ? <Time at={grant.lastUsedAt} /> : t.never}</dd>
        <dt>{t.expires}</dt>
        <dd>{grant.expiresAt ? shortMoment(grant.expiresAt) : t.never}</dd>
      </dl>
      <div class="actions">
        <ButtonLink href={`/dashboard/keys/${grant.id}`} icon="edit">
          {t.change}
        </ButtonLink>
        <Button look="danger" icon="x" onClick={onEnd}>
          {t.end}
        </Button>
      </div>
    </Card>
  )
}

function EndDialog({ grant, onClose }: { grant: Grant; onClose: () => void }) {
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState<unknown>(null)
  const end = async () => {
    setBusy(true)
    try {
      await api('DELETE', `/oauth/grants/${grant.id}`, { body: {} })
      invalidate('grants', 'keys')
      onClose()
    } catch (failure) {
      setError(failure)
      setBusy(false)
    }
  }
  return (
    <Dialog title={t.endTitle(grant.client.name)} onClose={onClose}>
      <p>{t.endHint}</p>
      {error !== null && <Problem error={error} />}
      <div class="actions end">
        <Button onClick={onClose}>{basic.cancel}</Button>
        <Button look="danger" class="solid" busy={busy} onClick={() => void end()}>
          {t.end}
        </Button>
      </div>
    </Dialog>
  )
}

function Connect() {
  const offered = useStore(platform)
  const [program, setProgram] = useState('codex')
  if (!offered) return null
  if (offered.mcp === false) {
    return (
      <Card title={t.connect}>
        <p class="muted">{t.off}</p>
      </Card>
    )
  }
  const url = offered.urls.mcp.replace(/(\/mcp)?\/?$/, '/mcp')
  const name = offered.product.name.toLowerCase().replace(/\W+/g, '-')
  const commands: Record<string, string> = {
    codex: `codex mcp add ${name} --url ${url}\ncodex mcp login ${name}`,
    claude: `claude mcp add --transport http ${name} ${url}\n# then, in Claude Code: /mcp, and Authenticate`,
    vscode: `code --add-mcp '${JSON.stringify({ name, type: 'http', url })}'`,
    cursor: JSON.stringify({ mcpServers: { [name]: { url } } }, null, 2),
    other: url,
  }
  return (
    <Card
      title={t.connect}
      hint={t.connectHint}
      action={
        <a class="small row" href="/dashboard/docs/mcp">
          {t.guide} <Icon name="right" />
        </a>
      }
    >
      <Segments
        label={t.connect}
        value={program}
        onChoose={setProgram}
        options={[
          ['codex', 'Codex'],
          ['claude', 'Claude Code'],
          ['vscode', 'VS Code'],
          ['cursor', 'Cursor'],
          ['other', t.other],
        ]}
      />
      <Code text={commands[program] ?? ''} what={t.command} lang="sh" />
    </Card>
  )
}

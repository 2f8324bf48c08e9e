import { useState } from 'preact/hooks'
import { api, ApiError, get } from '../api/client'
import { session, signOut } from '../api/session'
import type { PasskeyLine, SessionLine } from '../api/types'
import { shortMoment } from '../lib/format'
import { drawn } from '../lib/drawn'
import { catalogue, language, setLanguage, type Language } from '../lib/i18n'
import { invalidate, useQuery, type Query } from '../lib/query'
import { useStore } from '../lib/store'
import { setTheme, theme, type Theme } from '../lib/theme'
import { Badge, Button, Card, Id, Page, Problem, Skeleton, Time } from '../ui/basic'
import { Segments, Select } from '../ui/form'
import { Table, type Column } from '../ui/table'

const t = catalogue(
  {
    title: 'Settings',
    looks: 'Appearance',
    looksHint: 'Kept in this browser.',
    theme: 'Theme',
    system: 'As the system',
    light: 'Light',
    dark: 'Dark',
    language: 'Language',
    account: 'Account',
    wallet: 'Wallet',
    address: 'wallet address',
    signedIn: 'Signed in',
    until: 'Session ends',
    signOut: 'Sign out',
    sessions: 'Sessions',
    sessionsHint: 'Browsers that are signed in with this wallet. A session ends after 8 hours without use.',
    browser: 'Browser',
    seen: 'Last seen',
    began: 'Began',
    ends: 'Ends',
    current: 'This one',
    end: 'End',
    endOf: (browser: string) => `End the session in ${browser}`,
    endAll: 'End all others',
    passkeys: 'Passkeys',
    passkeysHint: 'Public keys that this server keeps, so that a passkey signs in from another browser.',
    noPasskeys: 'None is kept for this wallet.',
    name: 'Name',
    made: 'Kept since',
    remove: 'Remove',
    removeOf: (name: string) => `Remove the passkey ${name}`,
    unknown: 'Unknown browser',
    onSystem: (browser: string, system: string) => `${browser} on ${system}`,
  },
  {
    title: 'Einstellungen',
    looks: 'Aussehen',
    looksHint: 'Bleibt in diesem Browser.',
    theme: 'Farben',
    system: 'Wie das System',
    light: 'Hell',
    dark: 'Dunkel',
    language: 'Sprache',
    account: 'Konto',
    wallet: 'Wallet',
    address: 'Wallet-Adresse',
    signedIn: 'Angemeldet',
    until: 'Sitzung endet',
    signOut: 'Abmelden',
    sessions: 'Sitzungen',
    sessionsHint: 'Browser, die mit dieser Wallet angemeldet sind. Eine Sitzung endet nach 8 Stunden ohne Benutzung.',
    browser: 'Browser',
    seen: 'Zuletzt gesehen',
    began: 'Begonnen',
    ends: 'Endet',
    current: 'Diese',
    end: 'Beenden',
    endOf: (browser) => `Die Sitzung in ${browser} beenden`,
    endAll: 'Alle anderen beenden',
    passkeys: 'Passkeys',
    passkeysHint: 'Öffentliche Schlüssel, die dieser Server behält, damit sich ein Passkey auch in einem anderen Browser anmeldet.',
    noPasskeys: 'Für diese Wallet wird keiner behalten.',
    name: 'Name',
    made: 'Behalten seit',
    remove: 'Entfernen',
    removeOf: (name) => `Den Passkey ${name} entfernen`,
    unknown: 'Unbekannter Browser',
    onSystem: (browser, system) => `${browser} unter ${system}`,
  },
)

export default function Settings() {
  const state = useStore(session)
  const chosen = useStore(theme)
  const change = (next: string) => {
    setLanguage(next as Language)
    drawn.set((count) => count + 1)
  }
  const languages: [string, string][] = [
    ['en', 'English'],
    ['de', 'Deutsch'],
    // For whoever checks that pages bear long texts and the other direction.
    ...(language() === 'pseudo' || new URLSearchParams(location.search).has('pseudo') ? [['pseudo', 'Pseudo'] as [string, string]] : []),
  ]
  return (
    <Page title={t.title}>
      <div class="grid two">
        <Card title={t.looks} hint={t.looksHint}>
          <div class="stack tight">
            <p class="field-label">{t.theme}</p>
            <Segments<Theme>
              label={t.theme}
              value={chosen}
              onChoose={setTheme}
              options={[
                ['system', t.system],
                ['light', t.light],
                ['dark', t.dark],
              ]}
            />
          </div>
          <Select label={t.language} value={language()} onText={change} options={languages} />
        </Card>
        <Card title={t.account}>
          {state.state === 'in' && (
            <dl class="facts">
              <dt>{t.wallet}</dt>
              <dd>
                <Id id={state.session.wallet} what={t.address} start={10} end={8} />
              </dd>
              <dt>{t.signedIn}</dt>
              <dd>
                <Time at={state.session.createdAt} />
              </dd>
              <dt>{t.until}</dt>
              <dd>{shortMoment(state.session.expiresAt)}</dd>
            </dl>
          )}
          <div class="actions">
            <Button icon="leave" onClick={() => void signOut()}>
              {t.signOut}
            </Button>
          </div>
        </Card>
      </div>
      <Sessions />
      <Passkeys />
    </Page>
  )
}

/** A browser and a system, as far as a user agent tells. */
export function browserName(agent: string): string {
  const browser = (/(Edg|OPR|Firefox|Chrome|Safari)/.exec(agent)?.[0] ?? '').replace('Edg', 'Edge').replace('OPR', 'Opera')
  const system = ['iPhone', 'iPad', 'Android', 'Windows', 'Mac', 'Linux'].find((name) => agent.includes(name))
  if (!browser) return t.unknown
  return system ? t.onSystem(browser, system.replace(/^Mac$/, 'macOS')) : browser
}

const isMissing = (error: Error | undefined) => error instanceof ApiError && error.status === 404

function Sessions() {
  const read = useQuery('sessions', async () => (await get<{ sessions: SessionLine[] }>('/auth/sessions')).sessions)
  const [error, setError] = useState<unknown>(null)
  if (isMissing(read.error)) return null
  const end = async (lines: SessionLine[]) => {
    setError(null)
    try {
      for (const { id } of lines) await api('DELETE', `/auth/sessions/${encodeURIComponent(id)}`, { body: {} })
    } catch (failure) {
      setError(failure)
    }
    invalidate('sessions')
  }
  const others = read.data?.filter(({ current }) => !current) ?? []
  const columns: Column<SessionLine>[] = [
    { name: 'browser', title: t.browser, cell: ({ userAgent }) => <span title={userAgent}>{browserName(userAgent)}</span> },
    { name: 'began', title: t.began, minor: true, cell: ({ createdAt }) => <Time at={createdAt} /> },
    { name: 'seen', title: t.seen, cell: ({ lastSeenAt }) => <Time at={lastSeenAt} /> },
    { name: 'ends', title: t.ends, minor: true, cell: ({ expiresAt }) => shortMoment(expiresAt) },
    {
      name: 'end',
      title: t.end,
      end: true,
      cell: (line) =>
        line.current ? (
          <Badge tone="accent">{t.current}</Badge>
        ) : (
          <Button small aria-label={t.endOf(browserName(line.userAgent))} onClick={() => void end([line])}>
            {t.end}
          </Button>
        ),
    },
  ]
  const all = others.length > 1 && (
    <Button small onClick={() => void end(others)}>
      {t.endAll}
    </Button>
  )
  return (
    <Card flush title={t.sessions} hint={t.sessionsHint} action={all}>
      <Lines read={read}>{read.data && <Table caption={t.sessions} columns={columns} rows={read.data} id={({ id }) => id} />}</Lines>
      {error !== null && (
        <div class="inset">
          <Problem error={error} />
        </div>
      )}
    </Card>
  )
}

function Passkeys() {
  const read = useQuery('passkeys', async () => (await get<{ passkeys: PasskeyLine[] }>('/passkeys')).passkeys)
  const [error, setError] = useState<unknown>(null)
  if (isMissing(read.error)) return null
  const remove = async ({ credentialId }: PasskeyLine) => {
    setError(null)
    try {
      await api('DELETE', `/passkeys/${encodeURIComponent(credentialId)}`, { body: {} })
    } catch (failure) {
      setError(failure)
    }
    invalidate('passkeys')
  }
  const columns: Column<PasskeyLine>[] = [
    { name: 'name', title: t.name, cell: ({ label }) => label },
    { name: 'made', title: t.made, cell: ({ createdAt }) => <Time at={createdAt} /> },
    {
      name: 'remove',
      title: t.remove,
      end: true,
      cell: (line) => (
        <Button small look="danger" aria-label={t.removeOf(line.label)} onClick={() => void remove(line)}>
          {t.remove}
        </Button>
      ),
    },
  ]
  return (
    <Card flush title={t.passkeys} hint={t.passkeysHint}>
      <Lines read={read}>
        {read.data?.length ? (
          <Table caption={t.passkeys} columns={columns} rows={read.data} id={({ credentialId }) => credentialId} />
        ) : (
          <p class="inset muted">{t.noPasskeys}</p>
        )}
      </Lines>
      {error !== null && (
        <div class="inset">
          <Problem error={error} />
        </div>
      )}
    </Card>
  )
}

function Lines<T>({ read, children }: { read: Query<T>; children: preact.ComponentChildren }) {
  if (read.data) return <>{children}</>
  return <div class="inset">{read.error ? <Problem error={read.error} retry={read.reload} /> : <Skeleton lines={3} />}</div>
}

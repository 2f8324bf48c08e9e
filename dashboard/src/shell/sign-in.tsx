import { useState } from 'preact/hooks'
import { platform, signInWith, signInWithNewPasskey, signInWithPasskey, UnknownPasskey } from '../api/session'
import { icon, isRefusal, wallets } from '../api/wallets'
import { stored } from '../lib/stored'
import { useStore } from '../lib/store'
import { Button, explain, Note } from '../ui/basic'
import { Input } from '../ui/form'
import { Icon } from '../ui/icon'
import { Brand } from './shell'
import { t } from './messages'

/** What to say about a wallet that did not sign. */
export function refusal(error: unknown): string {
  if (error instanceof UnknownPasskey) return t.passkeyUnknown
  if (isRefusal(error)) return t.refused
  const { code, message } = (error ?? {}) as { code?: unknown; message?: string }
  if (code === -32002) return t.pending
  if (message === 'the wallet offers no account') return t.noAccount
  return explain(error)
}

export function SignIn({ ended }: { ended: boolean }) {
  const offered = useStore(platform)
  const found = useStore(wallets)
  const [busy, setBusy] = useState<string | null>(null)
  const [said, setSaid] = useState<string | null>(null)
  const [isMaking, setIsMaking] = useState(false)
  const byPasskey = offered?.signIn.passkey ?? false

  const attempt = (name: string, work: () => Promise<void>) => async () => {
    setBusy(name)
    setSaid(null)
    try {
      await work()
    } catch (error) {
      setSaid(refusal(error))
    } finally {
      setBusy(null)
    }
  }

  return (
    <main class="entrance">
      <div class="entrance-inner">
        <Brand to="/" />
        <section class="card">
          <div>
            <h1 tabIndex={-1}>{t.signInTo(offered?.product.name ?? '')}</h1>
            <p class="muted">{t.signInHint}</p>
          </div>
          {ended && !said && <Note tone="warn">{t.ended}</Note>}
          <div class="stack tight">
            {found.map((wallet) => {
              const picture = icon(wallet)
              return (
                <Button key={wallet.info.uuid} class="big" busy={busy === wallet.info.uuid} disabled={busy !== null} onClick={attempt(wallet.info.uuid, () => signInWith(wallet))}>
                  {busy !== wallet.info.uuid && (picture ? <img src={picture} alt="" /> : <Icon name="wallet" />)}
                  {t.with(wallet.info.name)}
                </Button>
              )
            })}
            {found.length === 0 && <p class="muted small">{byPasskey ? t.noWallet : t.noWallets}</p>}
          </div>
          {byPasskey && (
            <>
              <p class="or">{t.or}</p>
              <PasskeyPart {...{ busy, attempt, isMaking, setIsMaking }} />
            </>
          )}
          <p role="status" class={said ? 'error' : 'muted small'}>
            {said ?? (busy === null ? '' : busy === 'passkey' || busy === 'new' ? t.passkeyWaiting : t.waiting(found.find(({ info }) => info.uuid === busy)?.info.name ?? ''))}
          </p>
        </section>
      </div>
    </main>
  )
}

interface PasskeyProps {
  busy: string | null
  attempt: (name: string, work: () => Promise<void>) => () => Promise<void>
  isMaking: boolean
  setIsMaking: (making: boolean) => void
}

function PasskeyPart({ busy, attempt, isMaking, setIsMaking }: PasskeyProps) {
  const [label, setLabel] = useState(() => deviceName())
  // Passkeys belong to a domain, and a number is none.
  if (/^(\d+\.){3}\d+$|^\[/.test(location.hostname)) {
    const url = `${location.protocol}//localhost${location.port ? `:${location.port}` : ''}${location.pathname}`
    return (
      <p class="muted small">
        {t.passkeyHost} <a href={url}>{url}</a>
      </p>
    )
  }
  if (isMaking) {
    const make = attempt('new', () => signInWithNewPasskey(label.trim() || deviceName()))
    return (
      <form
        class="stack"
        onSubmit={(event) => {
          event.preventDefault()
          void make()
        }}
      >
        <Input label={t.passkeyLabel} value={label} onText={setLabel} maxLength={60} hint={t.passkeyHint} />
        <div class="actions">
          <Button look="primary" type="submit" icon="finger" busy={busy === 'new'} disabled={busy !== null}>
            {t.passkeyMake}
          </Button>
        </div>
        <p class="muted small">{t.passkeyTwice}</p>
      </form>
    )
  }
  const known = stored('passkey') !== null
  return (
    <div class="stack tight">
      <Button class="big" icon="finger" busy={busy === 'passkey'} disabled={busy !== null} onClick={attempt('passkey', () => signInWithPasskey())}>
        {t.passkey}
      </Button>
      <div class="row">
        <Button look="quiet" small disabled={busy !== null} onClick={() => setIsMaking(true)}>
          {t.newPasskey}
        </Button>
        {known && (
          <Button look="quiet" small disabled={busy !== null} onClick={attempt('passkey', () => signInWithPasskey(undefined, true))}>
            {t.passkeyOther}
          </Button>
        )}
      </div>
    </div>
  )
}

function deviceName(): string {
  const agent = navigator.userAgent
  const system = ['iPhone', 'iPad', 'Android', 'Windows', 'Mac', 'Linux'].find((name) => agent.includes(name))
  return system ?? 'Passkey'
}

// The small parts that pages are made of.
import type { ButtonHTMLAttributes, ComponentChildren } from 'preact'
import { useEffect, useId, useRef, useState } from 'preact/hooks'
import { ApiError } from '../api/client'
import { amountParts, exactMoney, headline, micros, moment, relative, shorten } from '../lib/format'
import { store, useStore } from '../lib/store'
import { Icon, type IconName } from './icon'
import { t } from './messages'

type Children = { children?: ComponentChildren }

interface ButtonProps extends Omit<ButtonHTMLAttributes, 'icon' | 'size'> {
  look?: 'primary' | 'plain' | 'quiet' | 'danger'
  icon?: IconName
  busy?: boolean
  small?: boolean
}

export function Button({ look = 'plain', icon, busy, small, children, class: css, ...rest }: ButtonProps) {
  const only = icon && !children ? ' icon-only' : ''
  return (
    <button type="button" {...rest} class={`button ${look}${small ? ' small' : ''}${only} ${css ?? ''}`} aria-busy={busy} disabled={rest.disabled || busy}>
      {busy ? <span class="spinner" aria-hidden="true" /> : icon && <Icon name={icon} />}
      {children}
    </button>
  )
}

/** A link that looks like a button. */
export function ButtonLink({ look = 'plain', icon, children, ...rest }: { look?: string; icon?: IconName; href: string; download?: boolean; target?: string } & Children) {
  return (
    <a {...rest} class={`button ${look}`}>
      {icon && <Icon name={icon} />}
      {children}
    </a>
  )
}

export function Badge({ tone = 'quiet', children }: { tone?: 'good' | 'bad' | 'warn' | 'accent' | 'quiet' } & Children) {
  return <span class={`badge ${tone}`}>{children}</span>
}

/** Copies text; says so for a moment, also to screen readers. */
export function Copy({ text, what, label, look = 'quiet', onCopy }: { text: string; what: string; label?: string; look?: 'quiet' | 'plain' | 'primary'; onCopy?: () => void }) {
  const [done, setDone] = useState(false)
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined)
  useEffect(() => () => clearTimeout(timer.current), [])
  const copy = async (event: Event) => {
    event.preventDefault()
    event.stopPropagation()
    await copyText(text)
    onCopy?.()
    setDone(true)
    clearTimeout(timer.current)
    timer.current = setTimeout(() => setDone(false), 1600)
  }
  return (
    <Button look={look} small={!label} class="copy" icon={done ? 'check' : 'copy'} onClick={copy} aria-label={label ? undefined : t.copyOf(what)} title={label ? undefined : t.copyOf(what)}>
      {label && <span>{done ? t.copied : label}</span>}
      <span class="unseen" role="status">
        {done ? t.copied : ''}
      </span>
    </Button>
  )
}

async function copyText(text: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text)
  } catch {
    // Browsers give the clipboard to secure pages only.
    const area = document.createElement('textarea')
    area.value = text
    area.className = 'unseen'
    ;(document.querySelector('dialog[open]') ?? document.body).append(area)
    area.select()
    document.execCommand('copy')
    area.remove()
  }
}

/** An id, shortened in the middle, with a button that copies all of it. */
export function Id({ id, what, href, start = 6, end = 4 }: { id: string; what: string; href?: string; start?: number; end?: number }) {
  const text = <span class="mono">{shorten(id, start, end)}</span>
  return (
    <span class="id" title={id}>
      {href ? <a href={href}>{text}</a> : text}
      <Copy text={id} what={what} />
    </span>
  )
}

/** An amount of dollars; `aligned` leaves room so that decimal points stand below each other, `rounded` is for headlines. */
export function Amount({ value, sign, aligned, rounded }: { value: string | number; sign?: boolean; aligned?: boolean; rounded?: boolean }) {
  const amount = typeof value === 'number' ? value : micros(value)
  const parts = amountParts(rounded ? headline(amount) : amount, { sign })
  const digits = parts.find(({ type }) => type === 'fraction')?.value.length ?? 0
  return (
    <span class="amount" title={exactMoney(amount)}>
      {parts.map((part) => part.value).join('')}
      {aligned && digits < 6 && (
        <span class="padding" aria-hidden="true">
          {'0'.repeat(6 - digits)}
        </span>
      )}
    </span>
  )
}

const now = store(Date.now())
setInterval(() => now.set(Date.now()), 20_000)

/** A moment as seen from now. The exact one is in the title, in the copy, and what screen readers say. */
export function Time({ at }: { at: string }) {
  const seen = useStore(now)
  const exact = moment(at)
  return (
    <time dateTime={at} title={exact} class="time">
      <span aria-hidden="true">{relative(at, Math.max(seen, Date.now() - 20_000))}</span>
      <span class="unseen">{exact}</span>
    </time>
  )
}

export function Skeleton({ lines = 3, height }: { lines?: number; height?: number }) {
  if (height) return <div class="skeleton block" style={{ blockSize: `${height}px` }} role="status" aria-label={t.loading} />
  return (
    <div class="skeletons" role="status" aria-label={t.loading}>
      {Array.from({ length: lines }, (_, line) => (
        <div key={line} class="skeleton" style={{ inlineSize: `${92 - ((line * 23) % 40)}%` }} />
      ))}
    </div>
  )
}

/** What a failed request means to the reader. */
export function explain(error: unknown): string {
  if (error instanceof ApiError) {
    if (error.code === 'offline') return t.offline
    if (error.status === 429 && error.retryAfter) return t.wait(error.retryAfter)
  }
  // Wallets tell long stories; the first sentence is for people.
  const message = (error as Error | undefined)?.message.split('\n')[0]?.slice(0, 240)
  return message ? message.charAt(0).toUpperCase() + message.slice(1) : t.failed
}

/** A failure with a way on. */
export function Problem({ error, retry }: { error: unknown; retry?: (() => void) | undefined }) {
  const id = error instanceof ApiError ? error.requestId : null
  return (
    <div class="problem" role="alert">
      <Icon name="warning" />
      <div>
        <p>{explain(error)}</p>
        {id && (
          <p class="muted small">
            {t.requestId} <Id id={id} what={t.requestId} />
          </p>
        )}
      </div>
      {retry && (
        <Button small icon="refresh" onClick={retry}>
          {t.retry}
        </Button>
      )}
    </div>
  )
}

export function Note({ tone = 'info', icon, title, children, action }: { tone?: 'info' | 'warn' | 'good' | 'bad'; icon?: IconName; title?: ComponentChildren; action?: ComponentChildren } & Children) {
  return (
    <div class={`note ${tone}`}>
      <Icon name={icon ?? (tone === 'good' ? 'check' : tone === 'info' ? 'info' : 'warning')} />
      <div>
        {title && <p class="strong">{title}</p>}
        {children}
      </div>
      {action}
    </div>
  )
}

/** Says what to do where there is nothing yet. */
export function Empty({ icon, title, children, action }: { icon: IconName; title: string; action?: ComponentChildren } & Children) {
  return (
    <div class="empty">
      <span class="empty-icon">
        <Icon name={icon} size={20} />
      </span>
      <p class="strong">{title}</p>
      <p class="muted">{children}</p>
      {action && <div class="actions">{action}</div>}
    </div>
  )
}

export function Card({ title, hint, action, children, flush, id }: { title?: ComponentChildren; hint?: ComponentChildren; action?: ComponentChildren; flush?: boolean; id?: string } & Children) {
  const label = useId()
  return (
    <section class={`card${flush ? ' flush' : ''}`} aria-labelledby={title ? label : undefined} id={id}>
      {title && (
        <header class="card-head">
          <div>
            <h2 id={label}>{title}</h2>
            {hint && <p class="muted small">{hint}</p>}
          </div>
          {action}
        </header>
      )}
      {children}
    </section>
  )
}

export function Page({ title, hint, action, children }: { title: string; hint?: ComponentChildren; action?: ComponentChildren } & Children) {
  return (
    <>
      <header class="page-head">
        <div>
          <h1 tabIndex={-1}>{title}</h1>
          {hint && <p class="muted">{hint}</p>}
        </div>
        {action && <div class="actions">{action}</div>}
      </header>
      {children}
    </>
  )
}

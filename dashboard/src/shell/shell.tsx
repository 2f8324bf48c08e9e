import type { ComponentChildren } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { live } from '../api/events'
import { platform, signOut } from '../api/session'
import type { Session } from '../api/types'
import { useAddress, href } from '../lib/router'
import { useStore } from '../lib/store'
import { find, GROUPS } from '../pages'
import { useBalance } from '../api/reads'
import { Amount, Button, Id, Skeleton } from '../ui/basic'
import { Icon } from '../ui/icon'
import { Avatar } from './avatar'
import { preload } from './outlet'
import { SignDialog } from './sign-dialog'
import { t } from './messages'

export function Brand({ to = '/dashboard' }: { to?: string }) {
  const name = useStore(platform)?.product.name ?? ''
  return (
    <a class="brand" href={to}>
      <span class="mark" aria-hidden="true">
        {name.charAt(0)}
      </span>
      {name || t.dashboard}
    </a>
  )
}

export function Shell({ session, children }: { session: Session | null; children: ComponentChildren }) {
  const [open, setOpen] = useState(false)
  const { path } = useAddress()
  useEffect(() => setOpen(false), [path])
  return (
    <>
      <a class="skip button" href="#main">
        {t.skip}
      </a>
      <div class="shell">
        <header class="topbar">
          <Brand />
          <Button look="quiet" icon="menu" aria-label={t.menu} aria-expanded={open} onClick={() => setOpen(true)} />
        </header>
        <Side session={session} />
        {open && (
          <Drawer onClose={() => setOpen(false)}>
            <Side session={session} />
          </Drawer>
        )}
        <main class="main" id="main">
          <div class="main-inner">{children}</div>
        </main>
      </div>
      {session && <SignDialog owner={session.wallet} />}
    </>
  )
}

function Drawer({ children, onClose }: { children: ComponentChildren; onClose: () => void }) {
  const element = useRef<HTMLDialogElement>(null)
  useEffect(() => element.current?.showModal(), [])
  return (
    <dialog
      ref={element}
      class="dialog drawer"
      aria-label={t.menu}
      onCancel={onClose}
      onClick={(event) => {
        if (event.target === element.current || (event.target as Element).closest('a')) onClose()
      }}
    >
      {children}
    </dialog>
  )
}

function Side({ session }: { session: Session | null }) {
  const { path } = useAddress()
  const current = find(path)?.page.path
  return (
    <nav class="side" aria-label={t.navigation}>
      <Brand />
      <div class="nav">
        {GROUPS.map(({ title, pages }, group) => (
          <div key={group}>
            {title() && <h2>{title()}</h2>}
            <ul>
              {pages.map((page) => (
                <li key={page.path}>
                  <a href={href(page.path)} aria-current={current === page.path ? 'page' : undefined} onMouseEnter={() => void preload(page).catch(() => {})} onFocus={() => void preload(page).catch(() => {})}>
                    <Icon name={page.icon} />
                    {page.title()}
                  </a>
                </li>
              ))}
            </ul>
          </div>
        ))}
      </div>
      <div class="side-foot">{session ? <Account wallet={session.wallet} /> : <Skeleton height={92} />}</div>
    </nav>
  )
}

function Account({ wallet }: { wallet: string }) {
  const { data } = useBalance()
  const isLive = useStore(live)
  return (
    <>
      <a class="side-balance" href="/dashboard/billing">
        <span class="row spread">
          <span class="muted small">{t.available}</span>
          <span class={`live${isLive ? ' on' : ''}`}>{isLive ? t.live : t.notLive}</span>
        </span>
        <span class="strong">{data ? <Amount value={data.available} rounded /> : <span class="muted">–</span>}</span>
      </a>
      <div class="who">
        <Avatar address={wallet} />
        <Id id={wallet} what={t.address} />
        <Button look="quiet" icon="leave" small aria-label={t.signOut} title={t.signOut} onClick={() => void signOut().catch(() => location.reload())} />
      </div>
    </>
  )
}

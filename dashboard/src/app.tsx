import { useEffect } from 'preact/hooks'
import { begin, session, type SessionState } from './api/session'
import { BASE, navigate, useAddress } from './lib/router'
import { drawn } from './lib/drawn'
import { useStore } from './lib/store'
import { Shell } from './shell/shell'
import { SignIn } from './shell/sign-in'
import { Outlet } from './shell/outlet'
import { t } from './shell/messages'
import { Button, Empty, explain } from './ui/basic'

export function App() {
  const state = useStore(session)
  return <Contents key={useStore(drawn)} state={state} />
}

function Contents({ state }: { state: SessionState }) {
  const { path, query } = useAddress()
  const atSignIn = path === '/sign-in'
  const isOut = state.state === 'out'
  const isIn = state.state === 'in'
  useEffect(() => {
    if (isOut && !atSignIn) {
      const back = location.pathname.slice(BASE.length) + location.search
      navigate(`/sign-in${back && back !== '/' ? `?back=${encodeURIComponent(back)}` : ''}`, { replace: true })
    }
    if (isIn && atSignIn) {
      const back = query.get('back') ?? '/'
      // Only pages of the dashboard, whatever the address says.
      navigate(/^\/(?!\/)/.test(back) ? back : '/', { replace: true })
    }
  }, [isOut, isIn, atSignIn])

  if (state.state === 'failed') {
    return (
      <main class="entrance">
        <Empty icon="warning" title={t.begun} action={<Button look="primary" icon="refresh" onClick={() => void begin()}>{t.reload}</Button>}>
          {explain(state.error)}
        </Empty>
      </main>
    )
  }
  if (state.state === 'out') return <SignIn ended={state.ended} />
  if (state.state === 'loading' && atSignIn) return <main class="entrance" aria-busy="true" />
  return (
    <Shell session={state.state === 'in' ? state.session : null}>
      <Outlet ready={isIn} />
    </Shell>
  )
}

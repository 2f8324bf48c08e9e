// The page of the current address.
import { Component, type ComponentChildren, type ComponentType } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { platform } from '../api/session'
import { useAddress } from '../lib/router'
import { useStore } from '../lib/store'
import { find, type PageEntry } from '../pages'
import { Button, ButtonLink, Empty, Page, Skeleton, explain } from '../ui/basic'
import { t } from './messages'

type PageComponent = ComponentType<{ rest: string }>
const loaded = new Map<string, PageComponent>()

/** Loads a page's code, also before it is opened. */
export async function preload(entry: PageEntry): Promise<PageComponent> {
  const known = loaded.get(entry.path)
  if (known) return known
  const { default: component } = await entry.load()
  loaded.set(entry.path, component)
  return component
}

export function Outlet({ ready }: { ready: boolean }) {
  const { path, hash } = useAddress()
  const product = useStore(platform)?.product.name
  const found = find(path)
  const title = found?.page.title() ?? t.notFound
  const isFirst = useRef(true)
  useEffect(() => {
    document.title = `${title} · ${product ?? t.dashboard}`
  }, [title, product])
  useEffect(() => {
    // Screen readers and keyboards go on at the page that was opened.
    if (!isFirst.current && !hash) document.querySelector<HTMLElement>('main h1')?.focus({ preventScroll: true })
    isFirst.current = false
  }, [path])
  if (!found) {
    return (
      <Page title={t.notFound} hint={t.notFoundHint}>
        <div class="actions">
          <ButtonLink look="primary" href="/dashboard">
            {t.toOverview}
          </ButtonLink>
        </div>
      </Page>
    )
  }
  return (
    <Boundary key={found.page.path}>
      <Loaded page={found.page} rest={found.rest} ready={ready} />
    </Boundary>
  )
}

function Loaded({ page, rest, ready }: { page: PageEntry; rest: string; ready: boolean }) {
  const [component, setComponent] = useState<PageComponent | undefined>(() => loaded.get(page.path))
  const [error, setError] = useState<unknown>(null)
  useEffect(() => {
    preload(page).then((found) => setComponent(() => found), setError)
  }, [page])
  if (error) return <Failed error={error} />
  const Known = component
  if (!Known || !ready) {
    return (
      <>
        <header class="page-head">
          <h1 tabIndex={-1}>{page.title()}</h1>
        </header>
        <Skeleton height={120} />
        <Skeleton height={280} />
      </>
    )
  }
  return <Known rest={rest} />
}

function Failed({ error }: { error: unknown }) {
  return (
    <Empty icon="warning" title={t.pageFailed} action={<Button look="primary" icon="refresh" onClick={() => location.reload()}>{t.reload}</Button>}>
      {explain(error)}
    </Empty>
  )
}

/** A page that fails leaves the rest as it is. */
class Boundary extends Component<{ children: ComponentChildren }, { error: unknown }> {
  override state = { error: null }
  static override getDerivedStateFromError(error: unknown) {
    return { error }
  }
  override render() {
    return this.state.error ? <Failed error={this.state.error} /> : this.props.children
  }
}

// Addresses under /dashboard, without hashes: the server answers each of them with the same page.
import { store, useStore } from './store'

export const BASE = '/dashboard'

export interface Address {
  /** Path below the base, such as `/keys`. */
  path: string
  query: URLSearchParams
  hash: string
}

function read(): Address {
  const path = location.pathname.replace(/^\/dashboard/, '').replace(/\/+$/, '') || '/'
  return { path, query: new URLSearchParams(location.search), hash: location.hash.slice(1) }
}

export const address = store(read())

export function useAddress(): Address {
  return useStore(address)
}

export function href(path: string): string {
  return path === '/' ? BASE : BASE + path
}

export function navigate(path: string, { replace = false } = {}): void {
  const url = href(path)
  if (replace) history.replaceState(null, '', url)
  else history.pushState(null, '', url)
  address.set(read())
  if (!replace && !location.hash) scrollTo(0, 0)
}

/** Writes filters into the address, so that a page can be linked and reloaded as it is. */
export function setQuery(changes: Record<string, string | null>): void {
  const query = new URLSearchParams(location.search)
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === '') query.delete(name)
    else query.set(name, value)
  }
  const text = query.toString()
  history.replaceState(null, '', location.pathname + (text ? `?${text}` : ''))
  address.set(read())
}

/** Follows links of the dashboard without loading it again. */
export function interceptLinks(): void {
  addEventListener('popstate', () => address.set(read()))
  document.addEventListener('click', (event) => {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return
    const link = (event.target as Element).closest?.('a')
    if (!link || link.target || link.hasAttribute('download') || link.origin !== location.origin) return
    if (link.pathname !== BASE && !link.pathname.startsWith(`${BASE}/`)) return
    if (link.pathname === location.pathname && link.hash) return
    event.preventDefault()
    navigate(link.pathname.slice(BASE.length) + link.search + link.hash)
  })
}

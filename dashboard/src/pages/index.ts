// Every page, loaded when it is opened.
import type { ComponentType } from 'preact'
import type { IconName } from '../ui/icon'
import { t } from '../shell/messages'

type Loader = () => Promise<{ default: ComponentType<{ rest: string }> }>

export interface PageEntry {
  path: string
  icon: IconName
  title: () => string
  load: Loader
}

const page = (path: string, icon: IconName, title: () => string, load: Loader): PageEntry => ({ path, icon, title, load })

export const GROUPS: { title: () => string | null; pages: PageEntry[] }[] = [
  { title: () => null, pages: [page('/', 'home', () => t.overview, () => import('./overview'))] },
  {
    title: () => t.build,
    pages: [
      page('/playground', 'chat', () => t.playground, () => import('./playground')),
      page('/privacy', 'shield', () => t.privacy, () => import('./privacy')),
      page('/models', 'cube', () => t.models, () => import('./models')),
      page('/docs', 'book', () => t.docs, () => import('./docs')),
    ],
  },
  {
    title: () => t.access,
    pages: [
      page('/keys', 'key', () => t.keys, () => import('./keys')),
      page('/connections', 'plug', () => t.connections, () => import('./connections')),
      page('/channels', 'channel', () => t.channels, () => import('./channels')),
    ],
  },
  {
    title: () => t.money,
    pages: [
      page('/usage', 'chart', () => t.usage, () => import('./usage')),
      page('/billing', 'card', () => t.billing, () => import('./billing')),
      page('/settings', 'gear', () => t.settings, () => import('./settings')),
    ],
  },
]

export const PAGES = GROUPS.flatMap(({ pages }) => pages)

/** The page of an address, and what follows its path: `/keys/abc` is the page of keys and `abc`. */
export function find(path: string): { page: PageEntry; rest: string } | null {
  const found = PAGES.find((entry) => (entry.path === '/' ? path === '/' : path === entry.path || path.startsWith(`${entry.path}/`)))
  if (!found) return null
  return { page: found, rest: decodeURIComponent(path.slice(found.path.length + 1)) }
}

// What was read from the server, kept while the dashboard is open: a page that is opened again shows it at once and reads it
// anew.
import { useCallback, useEffect, useState } from 'preact/hooks'

interface Entry {
  data?: unknown
  error?: Error | undefined
  running?: Promise<void> | undefined
  stale: boolean
  load?: (() => Promise<unknown>) | undefined
  listeners: Set<() => void>
}

const entries = new Map<string, Entry>()

function entry(key: string): Entry {
  let found = entries.get(key)
  if (!found) entries.set(key, (found = { stale: true, listeners: new Set() }))
  return found
}

function notify(found: Entry): void {
  for (const listener of [...found.listeners]) listener()
}

function run(key: string): void {
  const found = entry(key)
  if (found.running || !found.load) return
  found.stale = false
  found.running = found
    .load()
    .then(
      (data) => Object.assign(found, { data, error: undefined }),
      (error: Error) => Object.assign(found, { error }),
    )
    .then(() => {
      found.running = undefined
      // Something changed while it was being read.
      if (found.stale && found.listeners.size) run(key)
      if (entries.get(key) === found) notify(found)
    })
}

/** Reads everything again whose key begins like this, where a page shows it, and later where it is shown again. */
export function invalidate(...prefixes: string[]): void {
  for (const [key, found] of entries) {
    if (!prefixes.some((prefix) => key.startsWith(prefix))) continue
    found.stale = true
    if (found.listeners.size) run(key)
  }
}

/** Changes what was read, before the server is asked again. */
export function amend<T>(key: string, change: (data: T) => T): void {
  const found = entries.get(key)
  if (found?.data === undefined) return
  found.data = change(found.data as T)
  notify(found)
}

/** Forgets everything: at the end of a session. */
export function forget(): void {
  for (const found of entries.values()) Object.assign(found, { data: undefined, error: undefined, stale: true })
}

export interface Query<T> {
  data: T | undefined
  error: Error | undefined
  loading: boolean
  reload: () => void
}

/** Reads from the server under a key; `null` reads nothing. */
export function useQuery<T>(key: string | null, load: () => Promise<T>): Query<T> {
  const [, redraw] = useState(0)
  const found = key === null ? undefined : entry(key)
  if (found) found.load = load
  useEffect(() => {
    if (key === null) return undefined
    const mine = entry(key)
    const listener = () => redraw((count) => count + 1)
    mine.listeners.add(listener)
    run(key)
    return () => mine.listeners.delete(listener)
  }, [key])
  const reload = useCallback(() => {
    if (key === null) return
    entry(key).error = undefined
    run(key)
    redraw((count) => count + 1)
  }, [key])
  const data = found?.data as T | undefined
  return { data, error: found?.error, loading: found !== undefined && data === undefined && !found.error, reload }
}

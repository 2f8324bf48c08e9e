import { useLayoutEffect, useState } from 'preact/hooks'

/** A value that pages can watch. */
export interface Store<T> {
  get(): T
  set(next: T | ((before: T) => T)): void
  subscribe(listener: () => void): () => void
}

export function store<T>(initial: T): Store<T> {
  let value = initial
  const listeners = new Set<() => void>()
  return {
    get: () => value,
    set(next) {
      const changed = typeof next === 'function' ? (next as (before: T) => T)(value) : next
      if (Object.is(changed, value)) return
      value = changed
      for (const listener of [...listeners]) listener()
    },
    subscribe(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
  }
}

export function useStore<T>(watched: Store<T>): T {
  const [value, setValue] = useState(() => watched.get())
  useLayoutEffect(() => {
    const update = () => setValue(() => watched.get())
    update()
    return watched.subscribe(update)
  }, [watched])
  return value
}

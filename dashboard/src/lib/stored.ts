// Choices that outlast the page. Nothing secret is kept here: no key, no signature, no prompt.

/** Reads a choice; browsers that keep nothing have none. */
export function stored(name: string): string | null {
  try {
    return localStorage.getItem(name)
  } catch {
    return null
  }
}

export function remember(name: string, value: string | null): void {
  try {
    if (value === null) localStorage.removeItem(name)
    else localStorage.setItem(name, value)
  } catch {
    // It holds until the page is closed.
  }
}

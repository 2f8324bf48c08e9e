import { remember, stored } from './stored'
import { store } from './store'

export type Theme = 'system' | 'light' | 'dark'

const STORED = 'theme'
const kept = stored(STORED)

export const theme = store<Theme>(kept === 'light' || kept === 'dark' ? kept : 'system')

export function applyTheme(): void {
  const chosen = theme.get()
  if (chosen === 'system') delete document.documentElement.dataset['theme']
  else document.documentElement.dataset['theme'] = chosen
}

export function setTheme(next: Theme): void {
  theme.set(next)
  remember(STORED, next === 'system' ? null : next)
  applyTheme()
}

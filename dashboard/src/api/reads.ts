// What several pages read.
import { useQuery } from '../lib/query'
import { get } from './client'
import type { Balance, Key, Model } from './types'

export const useBalance = () => useQuery('balance', () => get<Balance>('/billing/balance'))

export const useKeys = () =>
  useQuery('keys', async () => {
    const keys: Key[] = []
    let cursor: string | undefined
    // A wallet has a hundred active keys at the most; those that ended add up over the years.
    do {
      const page = await get<{ keys: Key[]; next?: string }>(`/keys?limit=1000${cursor ? `&cursor=${cursor}` : ''}`)
      keys.push(...page.keys)
      cursor = page.next
    } while (cursor && keys.length < 5000)
    return keys
  })

export const useModels = () => useQuery('models', async () => (await get<{ models: Model[] }>('/models')).models)

/** Names of keys by their ids. */
export function keyNames(keys: Key[] | undefined): Map<string, string> {
  return new Map(keys?.map(({ id, name }) => [id, name]))
}

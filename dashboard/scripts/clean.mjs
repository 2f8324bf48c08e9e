// Empties dist/ but for the hidden file that keeps the folder in the repository: cargo watches it.
import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'

const dist = join(import.meta.dirname, '../dist')
for (const name of readdirSync(dist)) if (!name.startsWith('.')) rmSync(join(dist, name), { recursive: true })

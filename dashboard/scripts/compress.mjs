// Writes the compressed forms of the built files beside them, for the program to hold. Runs after `vite build`.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { brotliCompressSync, constants, gzipSync } from 'node:zlib'

const dist = join(import.meta.dirname, '../dist')
// What is built is not committed; the folder is there, so that the program compiles without it.
writeFileSync(join(dist, '.gitignore'), '*\n!.gitignore\n')
const isText = (name) => /\.(html|js|css|json|svg)$/.test(name)
for (const name of readdirSync(dist, { recursive: true }).filter(isText)) {
  const path = join(dist, name)
  const bytes = readFileSync(path)
  const params = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length }
  writeFileSync(`${path}.br`, brotliCompressSync(bytes, { params }))
  writeFileSync(`${path}.gz`, gzipSync(bytes, { level: 9 }))
}

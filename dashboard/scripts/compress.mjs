// Writes the compressed forms of the files in dist/ beside them, once and as small as can be: the server sends them as
// they are.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { brotliCompressSync, constants, gzipSync } from 'node:zlib'

const dist = join(import.meta.dirname, '../dist')
const TEXT = /\.(html|js|css|svg|json|txt|webmanifest)$/
const MIN_BYTES = 256

for (const name of readdirSync(dist, { recursive: true })) {
  if (!TEXT.test(name)) continue
  const bytes = readFileSync(join(dist, name))
  if (bytes.length < MIN_BYTES) continue
  const params = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length }
  writeFileSync(join(dist, `${name}.br`), brotliCompressSync(bytes, { params }))
  writeFileSync(join(dist, `${name}.gz`), gzipSync(bytes, { level: 9 }))
}

// Fails where a page of dist/ is larger than people on slow lines should wait for.
//
//   npm run size
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { brotliCompressSync, constants } from 'node:zlib'

const FIRST_LOAD = 30_000
const ANY_PAGE = 60_000
const REQUESTS = 6

const dist = join(import.meta.dirname, '../dist')
if (!existsSync(dist)) throw new Error('dist/ is missing: run `npm run build`')
const compressed = (path) => {
  const params = { [constants.BROTLI_PARAM_QUALITY]: 11 }
  return brotliCompressSync(readFileSync(join(dist, path)), { params }).length
}
const assets = readdirSync(join(dist, 'assets')).filter((name) => /\.(js|css)$/.test(name)).map((name) => `assets/${name}`)
const text = (path) => readFileSync(join(dist, path), 'utf8')
const html = text('index.html')

/** Static imports of a chunk, and those of its imports. */
function closure(path, seen = new Set()) {
  if (seen.has(path)) return seen
  seen.add(path)
  for (const [, name] of text(path).matchAll(/(?:from|import)\s*["']\.\/([^"']+\.js)["']/g)) closure(`assets/${name}`, seen)
  return seen
}

const linked = [...html.matchAll(/(?:src|href)="\/dashboard\/(assets\/[^"]+)"/g)].map(([, path]) => path)
const first = new Set(['index.html', ...linked])
for (const path of linked.filter((path) => path.endsWith('.js'))) for (const other of closure(path)) first.add(other)
const sum = (paths) => [...paths].reduce((total, path) => total + compressed(path), 0)

const problems = []
const lines = []
const judge = (name, paths, limit) => {
  const bytes = sum(paths)
  lines.push(`${String(bytes).padStart(7)} B  ${String(paths.size).padStart(2)} requests  ${name}`)
  if (bytes > limit) problems.push(`${name}: ${bytes} bytes, ${limit} at the most`)
  if (paths.size > REQUESTS) problems.push(`${name}: ${paths.size} requests, ${REQUESTS} at the most`)
}
judge('first load', first, FIRST_LOAD)
/** Chunks that load this one, beside the first: a guide needs the page of documentation around it. */
const around = (path) => assets.filter((other) => other.endsWith('.js') && !first.has(other) && text(other).includes(`import(\`./${path.slice(7)}\`)`))
for (const path of assets.filter((path) => path.endsWith('.js') && !first.has(path))) {
  const needed = new Set([...first, ...closure(path), ...around(path).flatMap((other) => [...closure(other)])])
  judge(path.replace(/^assets\/(.*)-[\w-]{8}\.js$/, '$1'), needed, ANY_PAGE)
}
console.log(lines.join('\n'))
if (problems.length) {
  console.error(`too large:\n  ${problems.join('\n  ')}`)
  process.exit(1)
}

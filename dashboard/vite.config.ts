import { defineConfig, type Plugin } from 'vite'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { guide } from './scripts/guides.mjs'

const GUIDES = join(import.meta.dirname, '../docs/guides')
const VIRTUAL = 'virtual:guide/'

/** Makes a module of each guide in docs/guides: its Markdown as a tree, so that the page needs no parser and no HTML. */
function guides(): Plugin {
  return {
    name: 'guides',
    resolveId: (id) => (id.startsWith(VIRTUAL) ? `\0${id}` : undefined),
    load(id) {
      if (!id.startsWith(`\0${VIRTUAL}`)) return undefined
      const name = id.slice(VIRTUAL.length + 1)
      const path = join(GUIDES, `${name}.md`)
      this.addWatchFile(path)
      const known = readdirSync(GUIDES).map((file) => file.replace(/\.md$/, ''))
      return `export default ${JSON.stringify(guide(readFileSync(path, 'utf8'), known))}`
    },
  }
}

/** Nothing is painted before the script has set theme and language; browsers that do not know this paint an empty page. */
function blockRender(): Plugin {
  return {
    name: 'block-render',
    enforce: 'post',
    transformIndexHtml: { order: 'post', handler: (html) => html.replace('<script type="module"', '<script type="module" blocking="render"') },
  }
}

const server = process.env['DASHBOARD_API'] ?? 'http://localhost:8402'

export default defineConfig({
  base: '/dashboard/',
  plugins: [guides(), blockRender()],
  // Routes that the dashboard calls; everything else is Vite's while developing.
  server: { proxy: Object.fromEntries(['/api', '/v1', '/openapi-full.json'].map((path) => [path, server])) },
  build: {
    target: 'es2023',
    assetsDir: 'assets',
    assetsInlineLimit: 0,
    cssCodeSplit: false,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    rolldownOptions: {
      output: {
        // What most pages share and signing in does not need, in one request.
        codeSplitting: { includeDependenciesRecursively: false, groups: [{ name: 'parts', test: /src\/(ui\/(table|bars|entries|spent)|api\/spending-key|pages\/privacy\/marked)\.tsx?$/ }] },
        entryFileNames: 'assets/[name]-[hash].js',
        chunkFileNames: 'assets/[name]-[hash].js',
        assetFileNames: 'assets/[name]-[hash][extname]',
      },
    },
  },
})

// Markdown of a guide as a tree of nodes: text, or [tag, properties, ...children]. Runs while building.
import { lexer } from 'marked'

/** Returns the tree of a guide, its title and its headings. `known` are the names of all guides. */
export function guide(markdown, known) {
  const headings = []
  const blocks = lexer(markdown).flatMap((token) => block(token, { known, headings }))
  const title = headings.find(({ level }) => level === 1)?.text ?? ''
  return { title, headings: headings.filter(({ level }) => level === 2), blocks }
}

const text = (token) => unescape(token.text ?? '')

/** The lexer leaves a few characters of plain text as HTML has them. */
function unescape(html) {
  const named = { '&amp;': '&', '&lt;': '<', '&gt;': '>', '&quot;': '"', '&#39;': "'" }
  return html.replace(/&(?:amp|lt|gt|quot|#39);/g, (entity) => named[entity])
}

export function slug(words) {
  return words.toLowerCase().replace(/[^\p{L}\p{N}\s-]/gu, '').trim().replace(/\s+/g, '-')
}

function block(token, context) {
  const inside = (tokens) => (tokens ?? []).flatMap((child) => inline(child, context))
  switch (token.type) {
    case 'space':
    case 'hr':
    case 'html':
      return []
    case 'heading': {
      const children = inside(token.tokens)
      const words = plain(children)
      context.headings.push({ level: token.depth, text: words, id: slug(words) })
      // The page has its own title.
      return token.depth === 1 ? [] : [[`h${token.depth}`, { id: slug(words) }, ...children]]
    }
    case 'paragraph':
      return [['p', {}, ...inside(token.tokens)]]
    case 'text':
      return token.tokens ? inside(token.tokens) : [text(token)]
    case 'code':
      return [['pre', { lang: (token.lang ?? '').split(' ')[0] }, token.text]]
    case 'list':
      return [[token.ordered ? 'ol' : 'ul', {}, ...token.items.map((item) => ['li', {}, ...blocks(item, context)])]]
    case 'blockquote':
      return [['blockquote', {}, ...token.tokens.flatMap((child) => block(child, context))]]
    case 'table':
      return [
        [
          'table',
          {},
          ['thead', {}, ['tr', {}, ...token.header.map((cell) => [cell.text ? 'th' : 'td', {}, ...inside(cell.tokens)])]],
          ['tbody', {}, ...token.rows.map((row) => ['tr', {}, ...row.map((cell) => ['td', {}, ...inside(cell.tokens)])])],
        ],
      ]
    default:
      throw new Error(`a guide has a ${token.type}, which the dashboard does not show`)
  }
}

const blocks = (item, context) => item.tokens.flatMap((child) => block(child, context))

function inline(token, context) {
  const inside = () => token.tokens.flatMap((child) => inline(child, context))
  switch (token.type) {
    case 'text':
    case 'escape':
      return token.tokens ? inside() : [text(token)]
    case 'strong':
      return [['strong', {}, ...inside()]]
    case 'em':
      return [['em', {}, ...inside()]]
    case 'codespan':
      return [['code', {}, text(token)]]
    case 'br':
      return [['br', {}]]
    case 'del':
      return inside()
    case 'link': {
      const href = target(token.href, context.known)
      // Files of the source are not there for who reads this in a browser.
      return href ? [['a', { href }, ...inside()]] : inside()
    }
    case 'html':
      return []
    default:
      throw new Error(`a guide has a ${token.type} in a line, which the dashboard does not show`)
  }
}

function target(href, known) {
  if (/^https:\/\//.test(href) || href.startsWith('#')) return href
  const [, name, anchor = ''] = /^([a-z]+)\.md(#.*)?$/.exec(href) ?? []
  return known.includes(name) ? `/dashboard/docs/${name}${anchor}` : undefined
}

function plain(children) {
  return children.map((child) => (typeof child === 'string' ? child : plain(child.slice(2)))).join('')
}

import { Copy } from './basic'

/** A piece of code, with a button that copies it. */
export function Code({ text, what, lang }: { text: string; what: string; lang?: string }) {
  return (
    <div class="code">
      <pre tabIndex={0} aria-label={what} data-lang={lang}>
        <code>{text}</code>
      </pre>
      <Copy text={text} what={what} />
    </div>
  )
}

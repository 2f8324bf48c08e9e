import { Copy } from './basic'

/** A piece of code, with a button that copies it. */
export function Code({ text, what, lang, wrap }: { text: string; what: string; lang?: string; wrap?: boolean }) {
  return (
    <div class={`code${wrap ? ' wrap' : ''}`}>
      <pre tabIndex={0} aria-label={what} data-lang={lang}>
        <code>{text}</code>
      </pre>
      <Copy text={text} what={what} />
    </div>
  )
}

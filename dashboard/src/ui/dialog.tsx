import type { ComponentChildren } from 'preact'
import { useEffect, useId, useRef } from 'preact/hooks'
import { Button } from './basic'
import { t } from './messages'

/** A window above the page. The browser keeps the focus in it and gives it back; Escape closes it unless `keep` says no. */
export function Dialog({ title, children, onClose, keep, wide, side }: { title: string; children: ComponentChildren; onClose: () => void; keep?: boolean; wide?: boolean; side?: boolean }) {
  const element = useRef<HTMLDialogElement>(null)
  const label = useId()
  useEffect(() => {
    const dialog = element.current
    const before = document.activeElement
    dialog?.showModal()
    return () => {
      dialog?.close()
      if (before instanceof HTMLElement && before.isConnected) before.focus()
    }
  }, [])
  return (
    <dialog
      ref={element}
      class={`dialog${wide ? ' wide' : ''}${side ? ' side' : ''}`}
      aria-labelledby={label}
      onCancel={(event) => {
        event.preventDefault()
        if (!keep) onClose()
      }}
      onClick={(event) => {
        if (event.target === element.current && !keep) onClose()
      }}
    >
      <div class="dialog-body">
        <header class="dialog-head">
          <h2 id={label}>{title}</h2>
          {!keep && <Button look="quiet" icon="x" aria-label={t.close} onClick={onClose} />}
        </header>
        {children}
      </div>
    </dialog>
  )
}

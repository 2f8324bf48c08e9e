import { useState } from 'preact/hooks'
import { NotSigned } from '../../api/sign'
import type { Key } from '../../api/types'
import { moment } from '../../lib/format'
import { Button, Copy, Note, Problem } from '../../ui/basic'
import { Dialog } from '../../ui/dialog'
import { Select } from '../../ui/form'
import { t as basic } from '../../ui/messages'
import { createKey, revokeKey, rotateKey, updateKey } from './actions'
import { KeyForm } from './key-form'
import { t } from './messages'

export type KeyDialog = { what: 'create' } | { what: 'edit' | 'rotate' | 'revoke'; key: Key } | { what: 'secret'; key: Key }

/** The window that is open above the list or a key. */
export function KeyDialogs({ asked, ask }: { asked: KeyDialog | null; ask: (next: KeyDialog | null) => void }) {
  const close = () => ask(null)
  switch (asked?.what) {
    case undefined:
      return null
    case 'create':
      return (
        <Dialog title={t.newKey} onClose={close}>
          <KeyForm of={null} onCancel={close} onSave={async (changes) => ask({ what: 'secret', key: await createKey(changes) })} />
        </Dialog>
      )
    case 'edit':
      return (
        <Dialog title={t.editTitle(asked.key.name)} onClose={close}>
          <KeyForm
            of={asked.key}
            onCancel={close}
            onSave={async (changes) => {
              await updateKey(asked.key, changes)
              close()
            }}
          />
        </Dialog>
      )
    case 'rotate':
      return <RotateDialog of={asked.key} onClose={close} onDone={(key) => ask({ what: 'secret', key })} />
    case 'revoke':
      return <RevokeDialog of={asked.key} onClose={close} />
    case 'secret':
      return <SecretDialog of={asked.key} onClose={close} />
  }
}

function useWork(): { busy: boolean; error: unknown; run: (work: () => Promise<void>) => Promise<void> } {
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState<unknown>(null)
  const run = async (work: () => Promise<void>) => {
    setBusy(true)
    setError(null)
    try {
      await work()
    } catch (failure) {
      if (!(failure instanceof NotSigned)) setError(failure)
      setBusy(false)
    }
  }
  return { busy, error, run }
}

function RotateDialog({ of, onClose, onDone }: { of: Key; onClose: () => void; onDone: (key: Key) => void }) {
  const [grace, setGrace] = useState('86400')
  const { busy, error, run } = useWork()
  return (
    <Dialog title={t.rotateTitle(of.name)} onClose={onClose}>
      <p class="muted">{t.rotateHint}</p>
      <Select
        label={t.grace}
        value={grace}
        onText={setGrace}
        options={[
          ['0', t.graceNone],
          ['3600', t.graceHour],
          ['86400', t.graceDay],
          ['604800', t.graceWeek],
        ]}
      />
      {error !== null && <Problem error={error} />}
      <div class="actions end">
        <Button onClick={onClose}>{basic.cancel}</Button>
        <Button look="primary" busy={busy} onClick={() => void run(async () => onDone(await rotateKey(of, Number(grace))))}>
          {t.rotateGo}
        </Button>
      </div>
    </Dialog>
  )
}

function RevokeDialog({ of, onClose }: { of: Key; onClose: () => void }) {
  const { busy, error, run } = useWork()
  return (
    <Dialog title={t.revokeTitle(of.name)} onClose={onClose}>
      <p>{t.revokeHint}</p>
      {error !== null && <Problem error={error} />}
      <div class="actions end">
        <Button onClick={onClose}>{basic.cancel}</Button>
        <Button
          look="danger"
          class="solid"
          busy={busy}
          onClick={() =>
            void run(async () => {
              await revokeKey(of)
              onClose()
            })
          }
        >
          {t.revokeGo}
        </Button>
      </div>
    </Dialog>
  )
}

/** The secret, once. The window closes after the key was copied, or when the person says that it may be lost. */
export function SecretDialog({ of, onClose, children }: { of: Key; onClose: () => void; children?: preact.ComponentChildren }) {
  const [isCopied, setIsCopied] = useState(false)
  return (
    <Dialog title={t.secretTitle} onClose={onClose} keep={!isCopied}>
      <p class="muted">{t.secretHint}</p>
      <p class="secret" data-secret>
        {of.key}
      </p>
      {of.previousValidUntil && <Note>{t.secretGrace(moment(of.previousValidUntil))}</Note>}
      {children}
      <div class="actions end">
        {!isCopied && (
          <Button look="quiet" onClick={onClose}>
            {t.lost}
          </Button>
        )}
        <Copy text={of.key ?? ''} what={t.theKey} label={t.copyKey} look={isCopied ? 'plain' : 'primary'} onCopy={() => setIsCopied(true)} />
        {isCopied && (
          <Button look="primary" onClick={onClose}>
            {t.done}
          </Button>
        )}
      </div>
      {!isCopied && <p class="hint">{t.copyFirst}</p>}
    </Dialog>
  )
}

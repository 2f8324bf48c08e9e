// Shows the text of an action and has the wallet sign it.
import { useEffect, useState } from 'preact/hooks'
import { lastSigner, platform, signMessage, WrongAccount, type Signer } from '../api/session'
import { actionMessage, NotSigned, wanted, type SignRequest } from '../api/sign'
import { icon, wallets } from '../api/wallets'
import { shorten } from '../lib/format'
import { useStore } from '../lib/store'
import { Button, Note } from '../ui/basic'
import { Code } from '../ui/code'
import { Dialog } from '../ui/dialog'
import { Icon } from '../ui/icon'
import { t as basic } from '../ui/messages'
import { refusal } from './sign-in'
import { t } from './messages'

export function SignDialog({ owner }: { owner: string }) {
  const request = useStore(wanted)
  return request ? <Asking key={request.action + request.keyId} request={request} owner={owner} /> : null
}

function Asking({ request, owner }: { request: SignRequest; owner: string }) {
  const offered = useStore(platform)
  const found = useStore(wallets)
  const [signer, setSigner] = useState<Signer | null | undefined>(undefined)
  const [message, setMessage] = useState('')
  const [busy, setBusy] = useState(false)
  const [said, setSaid] = useState<string | null>(null)

  const prepare = () => actionMessage(offered?.product.name ?? '', new URL(offered?.urls.platform || location.origin).host, request)
  useEffect(() => {
    void lastSigner(owner).then(setSigner)
    void prepare().then(setMessage)
  }, [])

  const close = () => {
    wanted.set(null)
    request.reject(new NotSigned())
  }
  const sign = async (by: Signer) => {
    setBusy(true)
    setSaid(null)
    try {
      const signature = await signMessage(by, owner, message)
      wanted.set(null)
      request.resolve({ walletAddress: owner, message, signature })
    } catch (error) {
      setSaid(error instanceof WrongAccount ? t.wrongAccount(shorten(owner), shorten(error.offered)) : refusal(error))
      setMessage(await prepare())
      setBusy(false)
    }
  }

  return (
    <Dialog title={t.signTitle} onClose={close}>
      <p class="strong">{request.summary}</p>
      <p class="muted">{t.signHint}</p>
      <div class="stack tight">
        <p class="field-label">{t.signText}</p>
        <Code text={message} what={t.signText} wrap />
      </div>
      {said && <Note tone="bad">{said}</Note>}
      {signer === null && <p class="muted">{found.length ? t.chooseWallet : t.noSigner}</p>}
      <div class="actions end">
        <Button onClick={close}>{basic.cancel}</Button>
        {signer && (
          <Button look="primary" busy={busy} disabled={!message} onClick={() => void sign(signer)}>
            {t.signWith(signer.kind === 'passkey' ? t.thePasskey : signer.wallet.info.name)}
          </Button>
        )}
        {signer === null &&
          found.map((wallet) => (
            <Button key={wallet.info.uuid} look="primary" busy={busy} disabled={!message} onClick={() => void sign({ kind: 'extension', wallet })}>
              {icon(wallet) ? <img src={icon(wallet)} alt="" width={16} height={16} /> : <Icon name="wallet" />}
              {t.signWith(wallet.info.name)}
            </Button>
          ))}
      </div>
    </Dialog>
  )
}

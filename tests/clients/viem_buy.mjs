// A wallet buys a key from the contract with viem, approval and purchase in one Tempo transaction,
// and uses it: nothing but `dev.json` and what the README says of the contract.
import { createHash, randomBytes } from 'node:crypto'
import { createClient, encodeFunctionData, http, parseAbi } from 'viem'
import { sendTransactionSync } from 'viem/actions'
import { tempoLocalnet } from 'viem/chains'
import { Account } from 'viem/tempo'
import { judge, readDev } from './lib.mjs'

const ABI = parseAbi([
  'function approve(address spender, uint256 amount) returns (bool)',
  'function buy(bytes32 keyHash, uint256 pack)',
  'function topUp(address owner, uint256 amount)',
])
const ALPHABET = 'abcdefghijklmnopqrstuvwxyz0123456789'
const sha256 = (...parts) => createHash('sha256').update(Buffer.concat(parts)).digest()

const dev = readDev(process.argv[2])
const account = Account.fromSecp256k1(dev.agentPrivateKey)
const chain = { ...tempoLocalnet, id: dev.chainId, rpcUrls: { default: { http: [dev.rpcUrl] } } }
const client = createClient({ account, chain, transport: http(dev.rpcUrl) })
const call = (to, functionName, args) => ({ to, data: encodeFunctionData({ abi: ABI, functionName, args }) })

const secret = randomBytes(32).toString('base64url')
const hash = sha256(Buffer.from(secret))
const owner = Buffer.from(account.address.slice(2), 'hex')
const id = [...sha256(hash, owner).subarray(0, 16)].map((byte) => ALPHABET[byte % 36]).join('')
const key = `pryv_${id}${secret}`

const ask = (apiKey) =>
  fetch(`${dev.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'dev-scripted', messages: [{ role: 'user', content: 'bought words' }] }),
  })

await judge('viem_buy', 'buy', async (expect) => {
  expect((await ask(key)).status === 401, 'the key worked before it was bought')
  const receipt = await sendTransactionSync(client, {
    calls: [
      call(dev.currency, 'approve', [dev.keySale, 10_000_000n]),
      call(dev.keySale, 'buy', [`0x${hash.toString('hex')}`, 1n]),
    ],
  })
  expect(receipt.status === 'success', `the purchase: ${receipt.status}`)
  const deadline = Date.now() + 30_000
  let answer
  do {
    answer = await ask(key)
    if (answer.status === 401) await new Promise((done) => setTimeout(done, 100))
  } while (answer.status === 401 && Date.now() < deadline)
  const body = await answer.json()
  expect(answer.status === 200, `status ${answer.status}: ${JSON.stringify(body)}`)
  expect(body.choices?.[0].message.content === 'bought words', JSON.stringify(body))
  const wrong = await ask(`pryv_${id}${randomBytes(32).toString('base64url')}`)
  expect(wrong.status === 401, `another secret: ${wrong.status}`)
  return { id, owner: account.address, transaction: receipt.transactionHash }
})

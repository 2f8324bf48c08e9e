// A wallet buys an API key from the contract, without asking this server: it makes the key itself, pays with its hash,
// and uses the key once the server has read the purchase.
//
//   node buy_key.mjs [dev.json]
import { createHash, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createClient, encodeFunctionData, http, parseAbi } from 'viem'
import { sendTransactionSync } from 'viem/actions'
import { tempoLocalnet } from 'viem/chains'
import { Account } from 'viem/tempo'

const dev = JSON.parse(readFileSync(process.argv[2] ?? '../../.farebox/dev.json', 'utf8'))
const account = Account.fromSecp256k1(dev.agentPrivateKey)
const chain = { ...tempoLocalnet, id: dev.chainId, rpcUrls: { default: { http: [dev.rpcUrl] } } }
const client = createClient({ account, chain, transport: http(dev.rpcUrl) })

// The secret never leaves this machine before the key is used. The public id follows from its hash and the wallet.
const sha256 = (...parts) => createHash('sha256').update(Buffer.concat(parts)).digest()
const secret = randomBytes(32).toString('base64url') // 43 characters
const keyHash = sha256(Buffer.from(secret))
const id = [...sha256(keyHash, Buffer.from(account.address.slice(2), 'hex')).subarray(0, 16)]
  .map((byte) => 'abcdefghijklmnopqrstuvwxyz0123456789'[byte % 36])
  .join('')
const key = `pryv_${id}${secret}`

// Approval of the exact price and purchase, in one Tempo transaction. Pack 1 of `farebox dev` costs $10.
const abi = parseAbi([
  'function approve(address spender, uint256 amount) returns (bool)',
  'function buy(bytes32 keyHash, uint256 pack)',
])
const call = (to, functionName, args) => ({ to, data: encodeFunctionData({ abi, functionName, args }) })
const receipt = await sendTransactionSync(client, {
  calls: [
    call(dev.currency, 'approve', [dev.keySale, 10_000_000n]),
    call(dev.keySale, 'buy', [`0x${keyHash.toString('hex')}`, 1n]),
  ],
})
if (receipt.status !== 'success') throw new Error(`the purchase failed: ${receipt.transactionHash}`)
console.log('bought:', receipt.transactionHash)

// 401 until the server has read the purchase, a second or two later.
const ask = () =>
  fetch(`${dev.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'dev-scripted', messages: [{ role: 'user', content: 'Hello there' }] }),
  })
let answer = await ask()
while (answer.status === 401) {
  await new Promise((done) => setTimeout(done, 500))
  answer = await ask()
}
console.log('answer:', (await answer.json()).choices[0].message.content)

// What every JavaScript client script shares: the dev server's description, the
// chain it runs on, and the checks on a payment that only the chain can answer.
import { readFileSync } from 'node:fs'
import { concat, createClient, http, keccak256, parseEventLogs, slice, stringToHex } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import { getTransactionReceipt } from 'viem/actions'
import { tempoLocalnet } from 'viem/chains'
import { Abis, Actions } from 'viem/tempo'

/** Reads the `dev.json` that `farebox dev` writes. */
export function readDev(path) {
  const dev = JSON.parse(readFileSync(path, 'utf8'))
  for (const name of ['url', 'rpcUrl', 'chainId', 'currency', 'recipient', 'agentPrivateKey'])
    if (dev[name] === undefined) throw new Error(`${path} has no "${name}"`)
  return dev
}

/** The agent's wallet and a chain client, in the form that mppx takes them. */
export function connect(dev) {
  const account = privateKeyToAccount(dev.agentPrivateKey)
  const chain = {
    ...tempoLocalnet,
    id: dev.chainId,
    rpcUrls: { default: { http: [dev.rpcUrl] } },
  }
  const client = createClient({ account, chain, transport: http(dev.rpcUrl) })
  return { account, client, getClient: () => client }
}

/** TIP-20 balances of payer and recipient, in base units. */
export async function balances({ client, account }, dev) {
  const read = async (holder) =>
    (await Actions.token.getBalance(client, { account: holder, token: dev.currency })).amount
  const [payer, recipient] = await Promise.all([read(account.address), read(dev.recipient)])
  return { payer, recipient }
}

/** The memo transfers from payer to recipient that one transaction made. */
export async function memoTransfers({ client, account }, dev, hash) {
  const receipt = await getTransactionReceipt(client, { hash })
  const same = (a, b) => a.toLowerCase() === b.toLowerCase()
  return parseEventLogs({ abi: Abis.tip20, eventName: 'TransferWithMemo', logs: receipt.logs })
    .filter(({ address }) => same(address, dev.currency))
    .filter(({ args }) => same(args.from, account.address) && same(args.to, dev.recipient))
    .map(({ args }) => ({ amount: args.amount, memo: args.memo }))
}

/**
 * The memo that ties a transfer to one challenge of one realm: tag, version, realm, client, challenge.
 * Computed here from the published layout, not by the client under test.
 */
export function attributionMemo({ id, realm }) {
  const print = (text, bytes) => slice(keccak256(stringToHex(text)), 0, bytes)
  const anonymous = `0x${'00'.repeat(10)}`
  return concat([print('mpp', 4), '0x01', print(realm, 10), anonymous, print(id, 7)])
}

/**
 * Runs one check, prints its outcome as one JSON line and sets the exit code.
 * `check` receives `expect(condition, problem)` and returns the fields to print.
 */
export async function judge(script, mode, check) {
  const problems = []
  const expect = (condition, problem) => {
    if (!condition) problems.push(problem)
  }
  const fields = await check(expect).catch((error) => {
    problems.push(error.shortMessage ?? error.message)
    return {}
  })
  const ok = problems.length === 0
  const plain = (_, value) => (typeof value === 'bigint' ? value.toString() : value)
  console.log(JSON.stringify({ script, mode, ok, ...fields, problems }, plain))
  process.exitCode = ok ? 0 : 1
}

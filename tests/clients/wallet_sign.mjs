// Signs a text as a wallet does (EIP-191), as the person in front of it would.
//
//   node wallet_sign.mjs <dev.json> < text
import { readFileSync } from 'node:fs'
import { privateKeyToAccount } from 'viem/accounts'
import { readDev } from './lib.mjs'

const account = privateKeyToAccount(readDev(process.argv[2]).agentPrivateKey)
console.log(await account.signMessage({ message: readFileSync(0, 'utf8') }))

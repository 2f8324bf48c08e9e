// What the chain says about one payment channel: every deposit, payment, refund and fee.
import { isAddressEqual, parseEventLogs } from 'viem'
import { getLogs, getTransactionReceipt, readContract } from 'viem/actions'
import { Abis, Addresses } from 'viem/tempo'

const abi = Abis.tip20ChannelReserve
const sum = (amounts) => amounts.reduce((total, amount) => total + amount, 0n)

/** Reads the channel's state and its whole life from events. `fees` counts those paid in the channel's token. */
export async function channelHistory({ client, account }, dev, channelId) {
  const state = await readContract(client, {
    abi,
    address: dev.escrow,
    functionName: 'getChannelState',
    args: [channelId],
  })
  const logs = await getLogs(client, { address: dev.escrow, fromBlock: 0n, toBlock: 'latest' })
  const events = parseEventLogs({ abi, logs }).filter(({ args }) => args.channelId === channelId)
  const of = (name) => events.filter(({ eventName }) => eventName === name)
  const hashes = [...new Set(events.map(({ transactionHash }) => transactionHash))]
  const receipts = await Promise.all(hashes.map((hash) => getTransactionReceipt(client, { hash })))
  return {
    state,
    opened: of('ChannelOpened').map(({ args }) => args.deposit),
    topUps: of('TopUp').map(({ args }) => args.additionalDeposit),
    settled: of('Settled').map(({ args }) => args.deltaPaid),
    refunded: of('ChannelClosed').map(({ args }) => args.refundedToPayer),
    closedBy: of('ChannelClosed').map(({ transactionHash }) => transactionHash),
    fees: { payer: feesOf(account.address, dev, receipts), recipient: feesOf(dev.recipient, dev, receipts) },
  }
}

/** Checks that deposits, refund, balances and the closing receipt name one and the same price. */
export function checkHistory(expect, history, { before, after, receipt }) {
  const { state, opened, topUps, refunded, closedBy, fees } = history
  expect(opened.length === 1, `opened ${opened.length} times`)
  expect(refunded.length === 1, `closed ${refunded.length} times`)
  expect(closedBy[0] === receipt.txHash, `closed by ${closedBy[0]}, receipt says ${receipt.txHash}`)
  expect(state.deposit === 0n && state.settled === 0n, 'channel still holds a deposit')
  const captured = sum(opened) + sum(topUps) - sum(refunded)
  expect(captured === BigInt(receipt.spent), `captured ${captured}, receipt says ${receipt.spent}`)
  const paid = before.payer - after.payer - fees.payer
  expect(paid === captured, `payer's balance fell by ${paid} beside fees, captured ${captured}`)
  const gained = after.recipient - before.recipient + fees.recipient
  expect(gained === captured, `recipient's balance rose by ${gained} before fees, captured ${captured}`)
}

function feesOf(holder, dev, receipts) {
  const logs = receipts.flatMap((receipt) => receipt.logs)
  const transfers = parseEventLogs({ abi: Abis.tip20, eventName: 'Transfer', logs })
    .filter(({ address }) => isAddressEqual(address, dev.currency))
  const moved = (from, to) =>
    sum(
      transfers
        .filter(({ args }) => isAddressEqual(args.from, from) && isAddressEqual(args.to, to))
        .map(({ args }) => args.amount),
    )
  return moved(holder, Addresses.feeManager) - moved(Addresses.feeManager, holder)
}

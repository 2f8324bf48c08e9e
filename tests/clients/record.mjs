// A fetch that notes what a payment client sends and what it is answered, changing neither.
import { Challenge, Credential } from 'mppx'

/** Appends one entry for every exchange to `record`. */
export function recordingFetch(record) {
  return async (input, init) => {
    const headers = new Headers(init?.headers)
    const payload = paymentPayload(headers.get('authorization'))
    const response = await fetch(input, init)
    record.push({
      method: init?.method ?? 'GET',
      body: Boolean(init?.body),
      hint: headers.get('payment-session') ?? undefined,
      action: payload?.action ?? payload?.type,
      cumulativeAmount: payload?.cumulativeAmount,
      additionalDeposit: payload?.additionalDeposit,
      status: response.status,
      challenge: response.status === 402 ? sessionChallenge(response) : undefined,
      receipt: decode(response.headers.get('payment-receipt')),
      snapshot: decode(response.headers.get('payment-session-snapshot')),
    })
    return response
  }
}

function paymentPayload(authorization) {
  return authorization?.startsWith('Payment ') ? Credential.deserialize(authorization).payload : undefined
}

/** The session challenge among those of a 402, else the first of them. */
export function sessionChallenge(response) {
  if (!response.headers.has('www-authenticate')) return undefined
  const challenges = Challenge.fromResponseList(response)
  return challenges.find(({ intent }) => intent === 'session') ?? challenges[0]
}

function decode(header) {
  return header ? JSON.parse(Buffer.from(header, 'base64').toString()) : undefined
}

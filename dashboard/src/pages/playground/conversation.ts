// A conversation with a model over /v1, streamed, with what it cost.
import { ApiError } from '../../api/client'
import { askV1, events, needKey } from '../../api/spending-key'
import type { Model } from '../../api/types'
import { micros } from '../../lib/format'
import { invalidate } from '../../lib/query'
import { store } from '../../lib/store'
import { t } from './messages'

export interface Parameters {
  model: string
  system: string
  temperature: string
  maxTokens: string
  privacyMode: 'off' | 'placeholder' | 'redact' | 'block'
  attachments: string
}

export interface ChatBody {
  model: string
  messages: { role: string; content: string }[]
  stream: true
  stream_options: { include_usage: true }
  [name: string]: unknown
}

export interface Turn {
  role: 'user' | 'assistant'
  content: string
  model?: string
  state?: 'running' | 'done' | 'stopped' | 'failed'
  error?: unknown
  requestId?: string | null
  hidden?: number
  promptTokens?: number
  completionTokens?: number
  /** Millionths of a dollar: an estimate while it runs, what was charged after. */
  cost?: number
}

/** What was said. It lives as long as the page, so that other pages can be looked at in between. */
export const turns = store<Turn[]>([])

const CHARACTERS_PER_TOKEN = 4

export function bodyOf(parameters: Parameters, said: Turn[]): ChatBody {
  const urls = parameters.attachments.split('\n').map((line) => line.trim()).filter(Boolean)
  const isPdf = (url: string) => /\.pdf($|[?#])/i.test(url)
  const temperature = Number(parameters.temperature)
  const most = Number(parameters.maxTokens)
  const messages = said.filter(({ content, state }) => content && state !== 'failed').map(({ role, content }) => ({ role, content }))
  return {
    model: parameters.model,
    messages: parameters.system.trim() ? [{ role: 'system', content: parameters.system.trim() }, ...messages] : messages,
    stream: true,
    stream_options: { include_usage: true },
    ...(parameters.temperature !== '' && Number.isFinite(temperature) ? { temperature } : {}),
    ...(most > 0 ? { max_tokens: most } : {}),
    ...(parameters.privacyMode === 'off' ? {} : { privacyMode: parameters.privacyMode }),
    ...(urls.some((url) => !isPdf(url)) ? { urls: urls.filter((url) => !isPdf(url)) } : {}),
    ...(urls.some(isPdf) ? { pdfs: urls.filter(isPdf) } : {}),
  }
}

/** What an answer of that length costs, about. */
function estimate(model: Model | undefined, prompt: number, answer: number): number {
  const { inputPerMillion, outputPerMillion } = model?.prices ?? {}
  return Math.round((prompt * micros(inputPerMillion) + answer * micros(outputPerMillion)) / 1e6)
}

interface Piece {
  choices?: { delta?: { content?: string | null } }[]
  usage?: { prompt_tokens: number; completion_tokens: number; cost?: number } | null
  error?: { code?: string; message?: string }
}

/** Asks, and writes the answer into the last turn as it comes. */
export async function ask(text: string, parameters: Parameters, model: Model | undefined, signal: AbortSignal): Promise<void> {
  const key = await needKey(t.keyName, t.summary)
  const asked: Turn[] = [...turns.get(), { role: 'user', content: text }]
  const body = bodyOf(parameters, asked)
  turns.set([...asked, { role: 'assistant', content: '', model: parameters.model, state: 'running' }])
  const amend = (change: (turn: Turn) => Turn) => turns.set((all) => all.map((turn, index) => (index === asked.length ? change(turn) : turn)))
  const prompt = body.messages.reduce((sum, { content }) => sum + content.length, 0) / CHARACTERS_PER_TOKEN
  try {
    const response = await askV1(key, '/chat/completions', body, signal)
    const hidden = Number(response.headers.get('x-pii-redacted'))
    amend((turn) => ({ ...turn, requestId: response.headers.get('x-request-id'), ...(hidden ? { hidden } : {}) }))
    for await (const { data } of events(response)) {
      if (data === '[DONE]') break
      const piece = JSON.parse(data) as Piece
      if (piece.error) throw new ApiError(502, piece.error.code ?? 'upstream_failed', piece.error.message ?? '')
      const more = piece.choices?.[0]?.delta?.content ?? ''
      amend((turn) => {
        const content = turn.content + more
        const { usage } = piece
        if (!usage) return { ...turn, content, cost: estimate(model, prompt, content.length / CHARACTERS_PER_TOKEN) }
        const cost = usage.cost === undefined ? turn.cost : Math.round(usage.cost * 1e6)
        return { ...turn, content, promptTokens: usage.prompt_tokens, completionTokens: usage.completion_tokens, ...(cost === undefined ? {} : { cost }) }
      })
    }
    amend((turn) => ({ ...turn, state: 'done' }))
  } catch (error) {
    if (signal.aborted) amend((turn) => ({ ...turn, state: 'stopped' }))
    else amend((turn) => ({ ...turn, state: 'failed', error }))
  }
  invalidate('balance', 'usage', 'ledger', 'keys')
}

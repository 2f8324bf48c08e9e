// Answers of the API that the dashboard reads. Amounts are dollars as decimal text.

export interface Session {
  wallet: string
  createdAt: string
  expiresAt: string
  isAdmin: boolean
}

export interface SessionLine {
  id: string
  current: boolean
  createdAt: string
  lastSeenAt: string
  expiresAt: string
  userAgent: string
}

export interface Platform {
  product: { name: string }
  urls: { api: string; platform: string; mcp: string }
  chain: { id: number; currency: string; currencyName?: string }
  keySale: { address: string; version?: number | null } | null
  cards: boolean
  cardsAreATest: boolean
  keys: { prefix: string; defaultRpm?: number | null; defaultTpm?: number | null; maxRpm?: number | null; maxTpm?: number | null }
  prices: { previewUsd: string }
  signIn: { extension: boolean; passkey: boolean }
  /** True if chat is sold from payment channels. */
  channels?: boolean
  /** False where the MCP server is switched off. */
  mcp?: boolean
}

export interface Model {
  id: string
  name?: string | null
  description?: string | null
  contextLength: number
  maxOutputTokens: number
  prices: {
    inputPerMillion: string | null
    outputPerMillion: string | null
    perChunk: string | null
    items?: Record<string, string> | null
  }
  available: boolean
}

export interface Balance {
  walletAddress: string
  currency: string
  available: string
  credited: string
  spent: string
  held: string
  debt: string
}

export interface Limits {
  rpm: number | null
  tpm: number | null
  dailyUsd: string | null
  totalUsd: string | null
  models: string[] | null
}

export interface Key {
  id: string
  name: string
  prefix: string
  status: 'active' | 'revoked' | 'expired'
  createdAt: string
  lastUsedAt: string | null
  revokedAt: string | null
  expiresAt: string | null
  limits: Limits
  key?: string
  previousValidUntil?: string | null
  spend?: { todayUsd: string; totalUsd: string }
  kind?: 'key' | 'grant' | 'bought'
}

export type EntryKind = 'credit' | 'usage' | 'purchase' | 'expired' | 'refund'

export interface BillItem {
  item: string
  tokens?: number
  pricePerMillion?: string
  price?: string
  amount?: string
}

export interface Entry {
  id: string
  kind: EntryKind
  direction: 'in' | 'out'
  amount: string
  service: string
  units: number
  unitPrice: string | null
  requestId: string | null
  source: string | null
  meta: {
    key?: string
    promptTokens?: number
    completionTokens?: number
    items?: BillItem[]
    [name: string]: unknown
  }
  createdAt: string
}

export interface Statement {
  entries: Entry[]
  next: string | null
}

export interface UsageRow {
  day?: string
  service?: string
  key?: string
  kind?: string
  requests: number
  promptTokens: number
  completionTokens: number
  costUsd: string
}

export interface Usage {
  rows: UsageRow[]
  total: { requests: number; promptTokens: number; completionTokens: number; costUsd: string }
  from: string
  to: string
}

export interface Pack {
  id: string
  name: string
  priceUsd: string
  creditsUsd: string
}

export interface CreditPacks {
  packs: Pack[]
  currency: string
  cardPayments: boolean
  minUsdAmount: string
  maxUsdAmount: string
}

export interface CheckoutPage {
  checkoutId: string
  url: string
  priceUsd: string
  creditsUsd: string
  test: boolean
}

export interface Checkout {
  id: string
  state: 'open' | 'paid' | 'expired' | 'refunded' | 'disputed'
  priceUsd: string
  creditsUsd: string
  createdAt: string
  paidAt?: string | null
}

export interface Grant {
  id: string
  client: { id: string; name: string }
  resource: string
  scopes: string[]
  status: string
  grantedAt: string
  lastUsedAt: string | null
  expiresAt: string | null
  limits: Limits
}

export interface Channel {
  id: string
  state: string
  depositUsd: string
  spentUsd: string
  acceptedUsd: string
  openedAt: string
  lastUsedAt: string | null
  closedAt?: string | null
  chainUrl?: string | null
}

export interface PasskeyLine {
  credentialId: string
  label: string
  createdAt: string
}

export interface LiveBalance {
  availableUsd: string
  heldUsd: string
  spentUsd: string
  creditedUsd: string
}

export interface LiveUsage {
  requestId: string | null
  service: string
  key: string | null
  costUsd: string
  kind: EntryKind
  createdAt: string
}

export interface Area {
  x: number
  y: number
  width: number
  height: number
}

export interface Finding {
  type: string
  score: number
  recognizer: string
}

export interface Preview {
  model: string
  entities: (Finding & { path?: string; start: number; end: number })[]
  counts: Record<string, number>
  redactedText?: string
  images?: {
    path: string
    width: number
    height: number
    entities: (Finding & { boxes: Area[] })[]
    faces: { box: Area; score: number }[]
    redacted?: string
  }[]
  pdfs?: {
    path: string
    pages: number
    entities: (Finding & { page: number; boxes: Area[]; source: string })[]
    faces: { page: number; box: Area; score: number }[]
    redacted?: string
  }[]
}

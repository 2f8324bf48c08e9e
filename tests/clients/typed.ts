// A client that is typed by what is generated from the complete OpenAPI document.
import createClient from 'openapi-fetch'
import type { paths } from './openapi-full.js'

declare const process: { argv: string[]; exit(code: number): never }

const [url, key] = process.argv.slice(2)
const client = createClient<paths>({ baseUrl: url, headers: { authorization: `Bearer ${key}` } })

const models = await client.GET('/v1/models')
const model = models.data?.data[0]
const one = await client.GET('/v1/models/{id}', { params: { path: { id: model?.id ?? '' } } })
const status = await client.GET('/v1/key')
const credits = await client.GET('/v1/credits')
const usage = await client.GET('/v1/usage', { params: { query: { from: '2026-01-01', to: '2026-01-31' } } })
const wrong = await client.GET('/v1/usage', { params: { query: { from: 'yesterday' } } })
const available: number | undefined = credits.data?.data.available
const limit: number | null | undefined = status.data?.data.limit
const code: string | undefined = wrong.error?.error.code
const ok =
  one.data?.pricePerMillionOutputTokens === model?.pricePerMillionOutputTokens &&
  (available ?? 0) > 0 &&
  limit !== undefined &&
  usage.data?.data.length === 0 &&
  code === 'invalid_params'
console.log(JSON.stringify({ script: 'typed', ok, available, limit, code }))
process.exit(ok ? 0 : 1)

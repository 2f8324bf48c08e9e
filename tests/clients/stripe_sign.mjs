// Stripe's own library signs a webhook: node stripe_sign.mjs <secret> < body > header
import { readFileSync } from 'node:fs'
import Stripe from 'stripe'

const payload = readFileSync(0, 'utf8')
const stripe = new Stripe('sk_test_not_used')
process.stdout.write(stripe.webhooks.generateTestHeaderString({ payload, secret: process.argv[2] }))

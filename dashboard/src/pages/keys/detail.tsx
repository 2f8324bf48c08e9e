import { useState } from 'preact/hooks'
import { get, query } from '../../api/client'
import { useKeys } from '../../api/reads'
import type { Key, Usage } from '../../api/types'
import { count, utcDay } from '../../lib/format'
import { useQuery } from '../../lib/query'
import { Bars } from '../../ui/bars'
import { Button, ButtonLink, Card, Empty, Id, Page, Problem, Skeleton, Time } from '../../ui/basic'
import { toSeries } from '../../ui/entries'
import { KeyDialogs, type KeyDialog } from './dialogs'
import { Spent } from '../../ui/spent'
import { StatusBadge } from './index'
import { t } from './messages'

const DAYS = 30

export function KeyDetail({ id }: { id: string }) {
  const keys = useKeys()
  const [asked, ask] = useState<KeyDialog | null>(null)
  const key = keys.data?.find((one) => one.id === id)
  const back = (
    <a class="row small" href="/dashboard/keys">
      ← {t.back}
    </a>
  )
  if (!key) {
    return (
      <Page title={t.title} hint={back}>
        {keys.data ? (
          <Empty icon="key" title={t.unknown} action={<ButtonLink href="/dashboard/keys">{t.back}</ButtonLink>}>
            {t.unknownHint}
          </Empty>
        ) : keys.error ? (
          <Problem error={keys.error} retry={keys.reload} />
        ) : (
          <Skeleton height={240} />
        )}
      </Page>
    )
  }
  const isActive = key.status === 'active'
  const actions = isActive && (
    <>
      <Button icon="edit" onClick={() => ask({ what: 'edit', key })}>
        {t.edit}
      </Button>
      {key.kind !== 'grant' && (
        <Button icon="refresh" onClick={() => ask({ what: 'rotate', key })}>
          {t.rotate}
        </Button>
      )}
      <Button look="danger" icon="trash" onClick={() => ask({ what: 'revoke', key })}>
        {t.revoke}
      </Button>
    </>
  )
  return (
    <Page title={key.name} hint={back} action={actions}>
      <div class="grid two">
        <Details of={key} />
        <LimitsCard of={key} />
      </div>
      <KeyUsage id={id} />
      <KeyDialogs asked={asked} ask={ask} />
    </Page>
  )
}

function Details({ of }: { of: Key }) {
  const time = (at: string | null) => (at ? <Time at={at} /> : <span class="muted">{t.never}</span>)
  return (
    <Card title={t.details}>
      <dl class="facts">
        <dt>{t.status}</dt>
        <dd>
          <StatusBadge status={of.status} />
        </dd>
        <dt>{t.type}</dt>
        <dd>{of.kind === 'grant' ? t.grant : of.kind === 'bought' ? t.bought : t.plainKey}</dd>
        <dt>{t.id}</dt>
        <dd>
          <Id id={of.prefix} what={t.keyId} start={12} end={6} />
        </dd>
        <dt>{t.created}</dt>
        <dd>{time(of.createdAt)}</dd>
        <dt>{t.lastUsed}</dt>
        <dd>{time(of.lastUsedAt)}</dd>
        <dt>{of.revokedAt ? t.revokedAt : t.expires}</dt>
        <dd>{time(of.revokedAt ?? of.expiresAt)}</dd>
      </dl>
    </Card>
  )
}

function LimitsCard({ of: { limits, spend } }: { of: Key }) {
  const none = <span class="muted">{t.noLimit}</span>
  return (
    <Card title={t.limits}>
      <dl class="facts">
        <dt>{t.today}</dt>
        <dd>
          <Spent spent={spend?.todayUsd} limit={limits.dailyUsd} />
        </dd>
        <dt>{t.spent}</dt>
        <dd>
          <Spent spent={spend?.totalUsd} limit={limits.totalUsd} />
        </dd>
        <dt>{t.rpm}</dt>
        <dd>{limits.rpm === null ? none : count(limits.rpm)}</dd>
        <dt>{t.tpm}</dt>
        <dd>{limits.tpm === null ? none : count(limits.tpm)}</dd>
        <dt>{t.models}</dt>
        <dd>{limits.models === null ? t.allModels : limits.models.join(', ')}</dd>
      </dl>
    </Card>
  )
}

function KeyUsage({ id }: { id: string }) {
  const [from, to] = [utcDay(Date.now(), DAYS - 1), utcDay(Date.now())]
  // The same reading serves every key.
  const usage = useQuery(`usage:${from}:${to}:day,service,key`, () => get<Usage>(`/billing/usage${query({ from, to, by: 'day,service,key' })}`))
  const link = (
    <a class="small" href={`/dashboard/usage?key=${id}`}>
      {t.toUsage}
    </a>
  )
  return (
    <Card title={t.usage} action={link}>
      {usage.data ? (
        <Bars title={t.usage} {...toSeries(usage.data.rows.filter(({ key }) => key === id), 'service', from, to, new Map())} />
      ) : usage.error ? (
        <Problem error={usage.error} retry={usage.reload} />
      ) : (
        <Skeleton height={236} />
      )}
    </Card>
  )
}

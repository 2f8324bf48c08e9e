// Bars by day, stacked by series, drawn as SVG, with the same numbers as a table behind them.
import { useRef, useState } from 'preact/hooks'
import { count, day, money } from '../lib/format'
import { Button } from './basic'
import { t } from './messages'

export interface Series {
  id: string
  name: string
  /** A value for each day. */
  values: number[]
}

interface BarsProps {
  title: string
  days: string[]
  series: Series[]
  unit?: 'money' | 'count'
  height?: number
}

const MOST_SERIES = 6
const WIDTH = 720

/** The largest series, and the rest as one. */
function fewer(series: Series[]): Series[] {
  const sum = ({ values }: Series) => values.reduce((total, value) => total + value, 0)
  const largest = series.toSorted((a, b) => sum(b) - sum(a))
  if (largest.length <= MOST_SERIES) return largest
  const rest = largest.slice(MOST_SERIES - 1)
  const values = (rest[0]?.values ?? []).map((_, at) => rest.reduce((total, one) => total + (one.values[at] ?? 0), 0))
  return [...largest.slice(0, MOST_SERIES - 1), { id: 'others', name: t.others, values }]
}

/** A round number at or above the highest bar. */
export function top(highest: number): number {
  if (highest <= 0) return 1
  const magnitude = 10 ** Math.floor(Math.log10(highest))
  return (([1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((step) => step * magnitude >= highest)) ?? 10) * magnitude
}

export function Bars({ title, days, series: all, unit = 'money', height = 200 }: BarsProps) {
  const [asTable, setAsTable] = useState(false)
  const [at, setAt] = useState<number | null>(null)
  const box = useRef<HTMLDivElement>(null)
  const series = fewer(all)
  const write = (value: number) => (unit === 'money' ? money(value) : count(value))
  const sums = days.map((_, index) => series.reduce((total, one) => total + (one.values[index] ?? 0), 0))
  const most = top(Math.max(...sums, 0))
  const inner = height - 24
  const step = WIDTH / Math.max(days.length, 1)
  const bar = Math.min(step * 0.72, 40)
  const move = (event: KeyboardEvent) => {
    const steps: Record<string, number> = { ArrowRight: 1, ArrowLeft: -1, Home: -days.length, End: days.length }
    const by = steps[event.key]
    if (by === undefined) return
    event.preventDefault()
    const turned = document.documentElement.dir === 'rtl' && Math.abs(by) === 1 ? -by : by
    setAt(Math.min(days.length - 1, Math.max(0, (at ?? days.length) + turned)))
  }
  const point = (event: MouseEvent) => {
    const area = box.current?.getBoundingClientRect()
    if (!area) return
    const part = (event.clientX - area.left) / area.width
    const turned = document.documentElement.dir === 'rtl' ? 1 - part : part
    setAt(Math.min(days.length - 1, Math.max(0, Math.floor(turned * days.length))))
  }
  const labels = [0, Math.floor((days.length - 1) / 2), days.length - 1].filter((index, place, list) => list.indexOf(index) === place)
  return (
    <figure class="bars" aria-label={title}>
      <div class="bars-head">
        <ul class="legend">
          {series.length > 1 &&
            series.map((one, index) => (
              <li key={one.id}>
                <span class={`swatch series-${index}`} />
                {one.name}
              </li>
            ))}
        </ul>
        <Button look="quiet" small onClick={() => setAsTable(!asTable)}>
          {asTable ? t.showChart : t.showTable}
        </Button>
      </div>
      {asTable ? (
        <Numbers {...{ title, days, series, sums, write }} />
      ) : (
        <div class="bars-area">
          <div class="bars-scale" aria-hidden="true" style={{ blockSize: `${inner}px` }}>
            <span>{write(most)}</span>
            <span>{write(most / 2)}</span>
            <span>{write(0)}</span>
          </div>
          <div
            class="bars-plot"
            ref={box}
            tabIndex={0}
            role="img"
            aria-label={`${title}. ${at === null ? t.showTable : `${day(days[at] ?? '', 'long')}: ${write(sums[at] ?? 0)}`}`}
            onKeyDown={move}
            onMouseMove={point}
            onMouseLeave={() => setAt(null)}
            onBlur={() => setAt(null)}
          >
            <svg viewBox={`0 0 ${WIDTH} ${inner}`} preserveAspectRatio="none" aria-hidden="true" style={{ blockSize: `${inner}px` }}>
              <line class="grid" x1="0" x2={WIDTH} y1="0.5" y2="0.5" />
              <line class="grid" x1="0" x2={WIDTH} y1={inner / 2} y2={inner / 2} />
              <line class="grid base" x1="0" x2={WIDTH} y1={inner - 0.5} y2={inner - 0.5} />
              {days.map((name, index) => {
                let y = inner
                return (
                  <g key={name} class={at === index ? 'pointed' : at === null ? '' : 'faint'}>
                    <rect class="column" x={index * step} y="0" width={step} height={inner} />
                    {series.map((one, which) => {
                      const value = one.values[index] ?? 0
                      if (value <= 0) return null
                      const size = Math.max((value / most) * inner, 1.5)
                      y -= size
                      return <rect key={one.id} class={`series-${which}`} x={index * step + (step - bar) / 2} y={y} width={bar} height={size} />
                    })}
                  </g>
                )
              })}
            </svg>
            <div class="bars-days" aria-hidden="true">
              {labels.map((index) => (
                <span key={index}>{day(days[index] ?? '')}</span>
              ))}
            </div>
            {at !== null && (
              <div class={`tip${at > days.length / 2 ? ' before' : ''}`} style={{ insetInlineStart: `${((at + 0.5) / days.length) * 100}%` }} role="status">
                <p class="strong">{day(days[at] ?? '', 'long')}</p>
                <dl>
                  {series
                    .map((one, which) => ({ one, which, value: one.values[at] ?? 0 }))
                    .filter(({ value }) => value > 0)
                    .map(({ one, which, value }) => (
                      <div key={one.id}>
                        <dt>
                          <span class={`swatch series-${which}`} />
                          {one.name}
                        </dt>
                        <dd>{write(value)}</dd>
                      </div>
                    ))}
                  {series.length !== 1 && (
                    <div class="sum">
                      <dt>{t.total}</dt>
                      <dd>{write(sums[at] ?? 0)}</dd>
                    </div>
                  )}
                </dl>
              </div>
            )}
            {sums.every((sum) => sum === 0) && <p class="bars-none muted">{t.nothing}</p>}
          </div>
        </div>
      )}
    </figure>
  )
}

function Numbers({ title, days, series, sums, write }: { title: string; days: string[]; series: Series[]; sums: number[]; write: (value: number) => string }) {
  return (
    <div class="table-box tall" tabIndex={0} role="region" aria-label={title}>
      <table class="table plain">
        <caption class="unseen">{title}</caption>
        <thead>
          <tr>
            <th scope="col">{t.day}</th>
            {series.map((one) => (
              <th key={one.id} scope="col" class="end">
                {one.name}
              </th>
            ))}
            {series.length > 1 && (
              <th scope="col" class="end">
                {t.total}
              </th>
            )}
          </tr>
        </thead>
        <tbody>
          {days.toReversed().map((name, back) => {
            const index = days.length - 1 - back
            return (
              <tr key={name}>
                <th scope="row">{day(name, 'long')}</th>
                {series.map((one) => (
                  <td key={one.id} class="end">
                    {write(one.values[index] ?? 0)}
                  </td>
                ))}
                {series.length > 1 && <td class="end">{write(sums[index] ?? 0)}</td>}
              </tr>
            )
          })}
        </tbody>
      </table>
    </div>
  )
}

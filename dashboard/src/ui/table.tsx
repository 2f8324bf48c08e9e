// Tables: sorted by the address of the page, walked through by keyboard, and lists of lines where there is little room.
import type { ComponentChildren } from 'preact'
import { BASE, navigate, setQuery, useAddress } from '../lib/router'
import { Icon } from './icon'
import { t } from './messages'

export interface Column<R> {
  name: string
  title: string
  cell: (row: R) => ComponentChildren
  /** What rows are sorted by; columns without it are not sortable. */
  sort?: (row: R) => string | number
  end?: boolean
  /** Left out where there is little room. */
  minor?: boolean
}

interface TableProps<R> {
  caption: string
  columns: Column<R>[]
  rows: R[]
  id: (row: R) => string
  /** Where a row leads. */
  href?: (row: R) => string | undefined
  /** Name of the parameter of the address that has the order. */
  order?: string
  foot?: ComponentChildren
}

/** Sorts as the address says: `name` upwards, `-name` downwards. */
function sorted<R>(rows: R[], columns: Column<R>[], order: string | null): R[] {
  const down = order?.startsWith('-')
  const sort = columns.find(({ name }) => name === order?.replace('-', ''))?.sort
  if (!sort) return rows
  const compare = (a: R, b: R) => {
    const [left, right] = [sort(a), sort(b)]
    return typeof left === 'number' && typeof right === 'number' ? left - right : String(left).localeCompare(String(right))
  }
  return rows.toSorted((a, b) => (down ? compare(b, a) : compare(a, b)))
}

/** Up and down move between the links of rows. */
function walk(event: KeyboardEvent): void {
  if (event.key !== 'ArrowDown' && event.key !== 'ArrowUp') return
  const row = (event.target as Element).closest('tr')
  const next = event.key === 'ArrowDown' ? row?.nextElementSibling : row?.previousElementSibling
  const link = next?.querySelector<HTMLElement>('a, button')
  if (!link) return
  event.preventDefault()
  link.focus()
}

export function Table<R>({ caption, columns, rows, id, href, order = 'sort', foot }: TableProps<R>) {
  const current = useAddress().query.get(order)
  const turn = (name: string) => setQuery({ [order]: current === `-${name}` ? name : `-${name}` })
  return (
    <div class="table-box">
      {/* Roles in words, because a table that is laid out as a list loses those it has. */}
      <table class="table" role="table" onKeyDown={walk}>
        <caption class="unseen">{caption}</caption>
        <thead role="rowgroup">
          <tr role="row">
            {columns.map(({ name, title, sort, end, minor }) => {
              const direction = current === name ? 'ascending' : current === `-${name}` ? 'descending' : undefined
              return (
                <th role="columnheader" key={name} scope="col" class={`${end ? 'end' : ''}${minor ? ' minor' : ''}`} aria-sort={direction}>
                  {sort ? (
                    <button type="button" class="sort" onClick={() => turn(name)} title={t.sortBy(title)}>
                      {title}
                      {direction && <Icon name={direction === 'ascending' ? 'up' : 'down'} size={12} />}
                    </button>
                  ) : (
                    title
                  )}
                </th>
              )
            })}
          </tr>
        </thead>
        <tbody role="rowgroup">
          {sorted(rows, columns, current).map((row) => {
            const target = href?.(row)
            const open = (event: MouseEvent) => {
              if (!target || (event.target as Element).closest('a, button, input') || getSelection()?.toString()) return
              navigate(target.slice(BASE.length))
            }
            return (
              <tr role="row" key={id(row)} class={target ? 'linked' : ''} onClick={open}>
                {columns.map(({ name, title, cell, end, minor }) => (
                  <td role="cell" key={name} class={`${end ? 'end' : ''}${minor ? ' minor' : ''}`} data-title={title}>
                    {cell(row)}
                  </td>
                ))}
              </tr>
            )
          })}
        </tbody>
        {foot && <tfoot role="rowgroup">{foot}</tfoot>}
      </table>
    </div>
  )
}

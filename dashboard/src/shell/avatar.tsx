/** A picture of an address, so that two accounts are told apart at a glance. */
export function Avatar({ address }: { address: string }) {
  const digits = address.slice(2).toLowerCase()
  const hue = (at: number) => Math.round((parseInt(digits.slice(at, at + 4), 16) / 65535) * 360)
  const id = `avatar-${digits.slice(0, 8)}`
  return (
    <svg class="avatar" viewBox="0 0 20 20" aria-hidden="true">
      <defs>
        <linearGradient id={id} x1="0" y1="0" x2="1" y2="1">
          <stop offset="0" stop-color={`hsl(${hue(0)} 60% 62%)`} />
          <stop offset="1" stop-color={`hsl(${hue(8)} 62% 46%)`} />
        </linearGradient>
      </defs>
      <circle cx="10" cy="10" r="10" fill={`url(#${id})`} />
    </svg>
  )
}

// Fields of forms.
import type { ComponentChildren } from 'preact'
import { useId } from 'preact/hooks'
import { t } from './messages'

interface FieldProps {
  label: string
  hint?: ComponentChildren
  error?: string | undefined
  optional?: boolean
}

function Labelled({ label, hint, error, optional, id, children }: FieldProps & { id: string; children: ComponentChildren }) {
  return (
    <div class={`field${error ? ' wrong' : ''}`}>
      <label for={id}>
        {label}
        {optional && <span class="muted"> ({t.optional})</span>}
      </label>
      {children}
      {hint && (
        <p class="hint" id={`${id}-hint`}>
          {hint}
        </p>
      )}
      {error && (
        <p class="error" id={`${id}-error`} role="alert">
          {error}
        </p>
      )}
    </div>
  )
}

const described = (id: string, { hint, error }: FieldProps) =>
  [hint && `${id}-hint`, error && `${id}-error`].filter(Boolean).join(' ') || undefined

/** Properties of an input that pages use. */
interface TextProps extends FieldProps {
  value: string
  onText?: (text: string) => void
  name?: string
  placeholder?: string
  required?: boolean
  disabled?: boolean
  readOnly?: boolean
  maxLength?: number
  spellcheck?: boolean
  autoFocus?: boolean
}

interface InputProps extends TextProps {
  type?: 'text' | 'number' | 'date' | 'search' | 'url'
  inputMode?: 'decimal' | 'numeric' | 'text'
  min?: string | number
  max?: string | number
  step?: string | number
  list?: string
  pattern?: string
  /** What stands before the text: a currency. */
  before?: string
}

export function Input({ label, hint, error, optional, onText, before, ...rest }: InputProps) {
  const id = useId()
  const input = (
    <input
      autoComplete="off"
      {...rest}
      id={id}
      aria-invalid={error ? true : undefined}
      aria-describedby={described(id, { label, hint, error })}
      onInput={(event) => onText?.(event.currentTarget.value)}
    />
  )
  return (
    <Labelled {...{ label, hint, error, optional: optional ?? false, id }}>
      {before ? (
        <span class="prefixed">
          <span aria-hidden="true">{before}</span>
          {input}
        </span>
      ) : (
        input
      )}
    </Labelled>
  )
}

interface AreaProps extends TextProps {
  rows?: number
  onKeyDown?: (event: KeyboardEvent) => void
}

export function TextArea({ label, hint, error, optional, onText, ...rest }: AreaProps) {
  const id = useId()
  return (
    <Labelled {...{ label, hint, error, optional: optional ?? false, id }}>
      <textarea
        {...rest}
        id={id}
        aria-invalid={error ? true : undefined}
        aria-describedby={described(id, { label, hint, error })}
        onInput={(event) => onText?.(event.currentTarget.value)}
      />
    </Labelled>
  )
}

interface SelectProps extends FieldProps {
  options: [value: string, name: string][]
  value: string
  disabled?: boolean
  onText: (value: string) => void
}

export function Select({ label, hint, error, optional, options, onText, value, disabled }: SelectProps) {
  const id = useId()
  return (
    <Labelled {...{ label, hint, error, optional: optional ?? false, id }}>
      <select disabled={disabled} id={id} value={value} aria-describedby={described(id, { label, hint, error })} onChange={(event) => onText(event.currentTarget.value)}>
        {options.map(([option, name]) => (
          <option key={option} value={option} selected={option === value}>
            {name}
          </option>
        ))}
      </select>
    </Labelled>
  )
}

export function Check({ label, hint, checked, onCheck, disabled }: { label: ComponentChildren; hint?: string; checked: boolean; onCheck: (checked: boolean) => void; disabled?: boolean }) {
  const id = useId()
  return (
    <div class="check">
      <input type="checkbox" id={id} checked={checked} disabled={disabled} aria-describedby={hint ? `${id}-hint` : undefined} onChange={(event) => onCheck(event.currentTarget.checked)} />
      <div>
        <label for={id}>{label}</label>
        {hint && (
          <p class="hint" id={`${id}-hint`}>
            {hint}
          </p>
        )}
      </div>
    </div>
  )
}

/** A choice of few, side by side. */
export function Segments<T extends string>({ label, options, value, onChoose }: { label: string; options: [value: T, name: string][]; value: T; onChoose: (value: T) => void }) {
  const name = useId()
  return (
    <fieldset class="segments">
      <legend class="unseen">{label}</legend>
      {options.map(([option, text]) => (
        <label key={option} class={option === value ? 'chosen' : ''}>
          <input type="radio" class="unseen" name={name} value={option} checked={option === value} onChange={() => onChoose(option)} />
          {text}
        </label>
      ))}
    </fieldset>
  )
}

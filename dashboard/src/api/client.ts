// Requests to the server that the page came from.

export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly requestId: string | null = null,
    readonly retryAfter: number | null = null,
  ) {
    super(message)
    this.name = 'ApiError'
  }
}

let refused: () => void = () => {}

/** Says what happens when the server asks who this is: the session may have ended. */
export function onRefused(handler: () => void): void {
  refused = handler
}

/** The API's own host, where it is not the one that this page came from. */
let apiOrigin = ''

export function setApiOrigin(url: string): void {
  const { origin, host } = new URL(url, location.href)
  apiOrigin = host === location.host ? '' : origin
}

/** Sends a request to the API's host, without the session: as any program does. */
export async function program(path: string, init: RequestInit = {}): Promise<Response> {
  try {
    return await fetch(apiOrigin + path, { ...init, credentials: 'omit' })
  } catch (error) {
    if ((error as Error).name === 'AbortError') throw error
    throw new ApiError(0, 'offline', '')
  }
}

/** Makes the error of an answer that is none of ours as well as of ours. */
export async function problem(response: Response): Promise<ApiError> {
  const text = await response.text().catch(() => '')
  let code = `http_${response.status}`
  let message = response.statusText || `HTTP ${response.status}`
  try {
    const body = JSON.parse(text) as { error?: { code?: string; message?: string } | string; detail?: string; error_description?: string }
    if (typeof body.error === 'object') {
      code = body.error.code ?? code
      message = body.error.message ?? message
    } else {
      code = body.error ?? code
      message = body.detail ?? body.error_description ?? message
    }
  } catch {
    // Not JSON: a proxy in between answered.
  }
  const after = Number(response.headers.get('retry-after'))
  return new ApiError(response.status, code, message, response.headers.get('x-request-id'), after > 0 ? after : null)
}

export interface Options {
  body?: object
  headers?: Record<string, string>
  signal?: AbortSignal
}

/** Sends a request with the session's cookie and returns the answer's JSON. */
export async function api<T>(method: string, path: string, { body, headers, signal }: Options = {}): Promise<T> {
  let response: Response
  try {
    response = await fetch(`/api/v1${path}`, {
      method,
      credentials: 'same-origin',
      // Answers may be kept for seconds, which is too long for who has just changed something.
      cache: 'no-cache',
      headers: { accept: 'application/json', ...(body ? { 'content-type': 'application/json' } : {}), ...headers },
      ...(body ? { body: JSON.stringify(body) } : {}),
      ...(signal ? { signal } : {}),
    })
  } catch (error) {
    if ((error as Error).name === 'AbortError') throw error
    throw new ApiError(0, 'offline', '')
  }
  if (!response.ok) {
    const error = await problem(response)
    if (error.status === 401 && !path.startsWith('/auth')) refused()
    throw error
  }
  if (response.status === 204) return undefined as T
  return (await response.json()) as T
}

export const get = <T>(path: string, options?: Options): Promise<T> => api<T>('GET', path, options)

/** A path's query of what is given. */
export function query(values: Record<string, string | number | null | undefined>): string {
  const given = Object.entries(values).filter(([, value]) => value !== null && value !== undefined && value !== '')
  const text = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString()
  return text ? `?${text}` : ''
}

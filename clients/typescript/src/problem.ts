import {
  type BowerbirdError,
  RateLimitedError,
  RefusedError,
  ServerError,
  SignInRequiredError,
  UnknownAccountError,
  XrpcError,
} from './errors.js'

/** The header that marks an error of the Bowerbird server, as opposed to one of the account's own server. */
export const ERROR_HEADER = 'bowerbird-error'
/** Codes that say that nobody is signed in. */
const SIGNED_OUT = new Set(['session_invalid', 'oauth_data_missing', 'refresh_token_reused'])

/** Reads an answer that is no success into the error that it means. The body is read to its end. */
export async function problemOf(response: Response, method?: string): Promise<BowerbirdError> {
  const body = await readObject(response)
  const { status } = response
  const code = response.headers.get(ERROR_HEADER) ?? undefined
  if (code === undefined && method !== undefined) return problemOfServer(status, body, method, response)
  return problemOfOurs(status, code ?? text(body, 'error') ?? `http_${status}`, body, response)
}

/** An error of the account's own server, which Bowerbird passed on. */
function problemOfServer(status: number, body: Body, method: string, response: Response): BowerbirdError {
  const error = text(body, 'error')
  const facts = { status, requestId: requestId(body, response) }
  const retryAfter = seconds(response)
  if (status === 429) {
    return new RateLimitedError(error ?? 'rate_limited', `${method}: the account's server has had too many calls`, {
      ...facts,
      retryAfter,
    })
  }
  // Without a body of XRPC it is some server on the way, such as a proxy that cannot reach Bowerbird.
  if (error === undefined && status >= 500) {
    return new ServerError(`http_${status}`, `${method}: the server answered ${status}`, undefined, {
      ...facts,
      retryAfter,
    })
  }
  return new XrpcError(method, error ?? `http_${status}`, text(body, 'message'), facts)
}

function problemOfOurs(status: number, code: string, body: Body, response: Response): BowerbirdError {
  const facts = { status, requestId: requestId(body, response) }
  const retryAfter = seconds(response)
  const hint = text(body, 'hint')
  const what = text(body, 'message') ?? worded(text(body, 'error'), code) ?? `The server answered ${status}`
  if (status === 401 && code === 'needs_reauth') {
    return new SignInRequiredError(code, what, text(body, 'reason') ?? code, text(body, 'repairUrl'), facts)
  }
  if (status === 401 && SIGNED_OUT.has(code)) {
    return new SignInRequiredError(code, 'Nobody is signed in on this device', text(body, 'reason') ?? code, undefined, facts)
  }
  if (status === 404 && code === 'account_not_found') return new UnknownAccountError(facts)
  if (status === 429) return new RateLimitedError(code, what, { ...facts, retryAfter })
  if (status >= 500) return new ServerError(code, what, hint, { ...facts, retryAfter })
  return new RefusedError(code, what, hint, facts)
}

type Body = Readonly<Record<string, unknown>>

async function readObject(response: Response): Promise<Body> {
  try {
    const value: unknown = JSON.parse(await response.text())
    return typeof value === 'object' && value !== null ? (value as Body) : {}
  } catch {
    return {}
  }
}

function text(body: Body, name: string): string | undefined {
  const value = body[name]
  return typeof value === 'string' && value !== '' ? value : undefined
}

/** Older forms have a sentence where others have the code. */
function worded(error: string | undefined, code: string): string | undefined {
  return error === code ? undefined : error
}

function requestId(body: Body, response: Response): string | undefined {
  return text(body, 'request_id') ?? response.headers.get('x-request-id') ?? undefined
}

function seconds(response: Response): number | undefined {
  const value = Number(response.headers.get('retry-after') ?? Number.NaN)
  return Number.isFinite(value) && value >= 0 ? value : undefined
}

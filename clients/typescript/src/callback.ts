import { CallbackError, MistakeError } from './errors.js'
import { parseQuery } from './query.js'

/** The longest address that is looked at. */
const LONGEST = 4096
/** Schemes that are no app's own. */
const FOREIGN = /^(http|javascript|vbscript|data|blob|file|about|intent|ws|wss|ftp):/i
/** Names that must never be in an address. */
const TOKENS = new Set(['session_token', 'access_token', 'refresh_token'])

/** Checks the address that the app waits at: `myapp://auth-callback`, or an https app link. */
export function checkRedirect(redirect: string): string {
  const isAddress = /^[a-z][a-z0-9+.-]*:\/[^?#@\s]*$/.test(redirect) && redirect.length <= 512
  if (!isAddress || FOREIGN.test(redirect)) {
    throw new MistakeError(
      'redirect_invalid',
      'redirect is not the address of an app',
      "Write it as the server's BOWERBIRD_MOBILE_SCHEME has it, such as myapp://auth-callback",
    )
  }
  return redirect
}

/** Takes the one-time code out of an address that came back. No error quotes the address. */
export function codeOf(redirect: string, callback: string): string {
  const [place = '', query = ''] = callback.replace(/#.*$/s, '').split(/\?(.*)/s)
  if (callback.length > LONGEST || placeOf(place) !== placeOf(redirect)) throw notOurs()
  const found: Record<string, string> = {}
  for (const [name, value] of parseQuery(query)) {
    if (TOKENS.has(name)) throw tokenInUrl()
    if (!['code', 'error', 'error_description'].includes(name)) continue
    if (name in found) throw malformed()
    found[name] = value
  }
  const { code, error, error_description: description } = found
  if (error && code === undefined) {
    const words = clean(description || error)
    throw new CallbackError('refused', `The sign-in was refused: ${words}`, 'Begin again if that was a mistake', clean(error))
  }
  if (!code || error !== undefined) throw malformed()
  return code
}

/** Two spellings of one address are one: a slash at the end, and the case of scheme and host. */
function placeOf(address: string): string {
  const match = /^([^:/]+:\/\/[^/]*)(.*)$/s.exec(address)
  const [start, path] = match ? [match[1] ?? '', match[2] ?? ''] : [address, '']
  return start.toLowerCase() + path.replace(/\/+$/, '')
}

function clean(text: string): string {
  return text.replace(/\p{C}/gu, '').slice(0, 200)
}

function notOurs(): CallbackError {
  return new CallbackError(
    'not_ours',
    'That is not the address that a sign-in comes back to',
    'Leave other links of the app to their own screens',
  )
}

function tokenInUrl(): CallbackError {
  return new CallbackError(
    'token_in_url',
    'The address holds a session token, which must never be in one',
    "Let the server's operator set BOWERBIRD_MOBILE_HANDOFF=code",
  )
}

function malformed(): CallbackError {
  return new CallbackError('malformed', 'The address that came back is malformed', 'Begin the sign-in again')
}

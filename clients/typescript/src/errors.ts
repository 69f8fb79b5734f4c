/** What every error of this package knows. */
export interface ErrorFacts {
  /** The HTTP status, where there was an answer. */
  readonly status?: number | undefined
  /** Names the answer in the server's log. */
  readonly requestId?: string | undefined
  /** What led to it. */
  readonly cause?: unknown
}

/**
 * The base of every error that this package throws by itself. A call that was aborted rejects with the signal's own
 * reason instead. The message says what happened and what to do, and never holds a seal, a code or a verifier.
 */
export abstract class BowerbirdError extends Error {
  /** A stable code: the server's own, as its page of error codes lists them, or one of this package. */
  readonly code: string
  /** What to do about it. */
  readonly hint: string | undefined
  /** The HTTP status, where there was an answer. */
  readonly status: number | undefined
  /** Names the answer in the server's log. */
  readonly requestId: string | undefined

  constructor(code: string, what: string, hint?: string, facts: ErrorFacts = {}) {
    super(sentence(what, hint), facts.cause === undefined ? undefined : { cause: facts.cause })
    this.code = code
    this.hint = hint
    this.status = facts.status
    this.requestId = facts.requestId
  }

  /** Whether the same call may succeed a little later, without anybody doing anything. */
  get isTemporary(): boolean {
    return false
  }
}

/**
 * The person must sign in. With a `repairUrl`, one account of the device needs them and the device stays signed in;
 * without one, the session of the whole device is over.
 */
export class SignInRequiredError extends BowerbirdError {
  override readonly name = 'SignInRequiredError'
  /** Why: `session_invalid`, `refresh_token_reused`, `signed_out`, or the server's reason of `needs_reauth`. */
  readonly reason: string
  /** Where the person repairs exactly this account. */
  readonly repairUrl: string | undefined

  constructor(code: string, what: string, reason: string, repairUrl?: string, facts?: ErrorFacts) {
    super(code, what, repairUrl ? 'Send the person to repairUrl, or begin a sign-in of that account' : 'Ask the person to sign in again', facts)
    this.reason = reason
    this.repairUrl = repairUrl
  }

  /** The id of the account that needs its person; undefined when it is the whole device. */
  get account(): string | undefined {
    return this.repairUrl?.replace(/[?#].*$/s, '').split('/').pop() || undefined
  }

  /** Whether the session of the device is over, as opposed to one account that needs its person. */
  get sessionEnded(): boolean {
    return this.repairUrl === undefined
  }
}

/** The server could not be reached, after every try. Trying again is up to the person. */
export class OfflineError extends BowerbirdError {
  override readonly name = 'OfflineError'

  constructor(what: string, cause?: unknown) {
    super('offline', what, 'Check the connection, then try again', { cause })
  }

  override get isTemporary(): boolean {
    return true
  }
}

/** The server, or the person's own server behind it, cannot do it now. */
export class ServerError extends BowerbirdError {
  override readonly name = 'ServerError'
  /** After how many seconds the server would like to be asked again. */
  readonly retryAfter: number | undefined

  constructor(code: string, what: string, hint?: string, facts?: ErrorFacts & { retryAfter?: number | undefined }) {
    super(code, what, hint ?? 'Try again in a moment', facts)
    this.retryAfter = facts?.retryAfter
  }

  override get isTemporary(): boolean {
    return true
  }
}

/** Too many requests. */
export class RateLimitedError extends BowerbirdError {
  override readonly name = 'RateLimitedError'
  /** After how many seconds it may be tried again. */
  readonly retryAfter: number | undefined

  constructor(code: string, what: string, facts?: ErrorFacts & { retryAfter?: number | undefined }) {
    const after = facts?.retryAfter
    super(code, what, after ? `Try again in ${after} seconds` : 'Try again later', facts)
    this.retryAfter = after
  }

  override get isTemporary(): boolean {
    return true
  }
}

/** The server refuses the request as it is: the app, or what the person typed, must change. */
export class RefusedError extends BowerbirdError {
  override readonly name = 'RefusedError'
}

/** That account is not signed in on this device. */
export class UnknownAccountError extends BowerbirdError {
  override readonly name = 'UnknownAccountError'

  constructor(facts?: ErrorFacts) {
    super('account_not_found', 'That account is not signed in on this device', 'Choose one of accounts.list()', facts)
  }
}

/** The account's own server refused or failed: an XRPC error, passed on as it came. */
export class XrpcError extends BowerbirdError {
  override readonly name = 'XrpcError'
  /** The method that was called. */
  readonly method: string
  /** The error's name, such as `InvalidRequest`. */
  readonly error: string

  constructor(method: string, error: string, message: string | undefined, facts?: ErrorFacts) {
    super(error, message ? `${method}: ${error}: ${clip(message)}` : `${method}: ${error}`, undefined, facts)
    this.method = method
    this.error = error
  }
}

/** The address that a sign-in came back to is none that may be used. Codes: see {@link CallbackCode}. */
export class CallbackError extends BowerbirdError {
  override readonly name = 'CallbackError'
  /** The error of the authorization server, such as `access_denied`, when the code is `refused`. */
  readonly error: string | undefined

  constructor(code: CallbackCode, what: string, hint: string, error?: string) {
    super(code, what, hint)
    this.error = error
  }
}

/** Why an address is none that a sign-in may come back to. */
export type CallbackCode =
  /** It is not the app's own address. */
  | 'not_ours'
  /** It holds a session token: by such a link anybody could sign the person in as somebody else. */
  | 'token_in_url'
  /** It has neither code nor error, or more than one of them. */
  | 'malformed'
  /** No sign-in is under way here, or it took too long. */
  | 'not_started'
  /** The person, or their server, said no. */
  | 'refused'

/** The secure store could not keep or find a secret. */
export class StoreError extends BowerbirdError {
  override readonly name = 'StoreError'

  constructor(operation: 'load' | 'save' | 'delete', cause: unknown) {
    const what = `The secure store could not ${operation} the session`
    super('store_failed', what, 'Unlock the device, then try again', { cause })
  }

  override get isTemporary(): boolean {
    return true
  }
}

/** A mistake of the app: an option that is missing, a name that is none. */
export class MistakeError extends BowerbirdError {
  override readonly name = 'MistakeError'
}

function sentence(what: string, hint: string | undefined): string {
  const end = (text: string) => (/[.!?]$/.test(text) ? text : `${text}.`)
  return hint ? `${end(what)} ${end(hint)}` : what
}

function clip(text: string): string {
  return text.length > 300 ? `${text.slice(0, 300)}…` : text
}

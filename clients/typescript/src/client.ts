import { Accounts } from './accounts.js'
import { Caller, needsStore } from './caller.js'
import { checkRedirect } from './callback.js'
import { type Clock, systemClock } from './clock.js'
import { DeviceSession } from './device-session.js'
import { Devices } from './devices.js'
import { MistakeError, OfflineError, ServerError, SignInRequiredError } from './errors.js'
import { type BowerbirdEvent, follow } from './events.js'
import { queryOf } from './query.js'
import { type RandomBytes, systemRandom } from './random.js'
import type { SecurityEventsBody, TokenHealth } from './schema.js'
import { HandOff, type SignedIn, type SignInOptions, type StartedSignIn } from './sign-in.js'
import type { SecureStore } from './store.js'
import { type Fetch, originOf, Transport } from './transport.js'
import { signInInWindow } from './window.js'
import { Xrpc } from './xrpc.js'

/** What a client is made of. */
export interface ClientOptions {
  /** The address of the Bowerbird server, without a path. */
  readonly baseUrl: string
  /**
   * Where an app keeps its session: the keychain. Without one the session is a cookie, as browsers have it.
   */
  readonly store?: SecureStore | undefined
  /** Where an app waits for the end of a sign-in, as the server's `BOWERBIRD_MOBILE_SCHEME` has it. */
  readonly redirect?: string | undefined
  /** Begins the names in the store, such as `com.example.app`. Letters, digits, dots, `-` and `_`. */
  readonly namespace?: string | undefined
  /** Told when somebody must sign in: show the sign-in, or open the error's `repairUrl`. */
  readonly onSignInRequired?: ((error: SignInRequiredError) => void) | undefined
  /** Sends requests; the platform's own unless given. */
  readonly fetch?: Fetch | undefined
  /** Unpredictable bytes, for platforms without `crypto.getRandomValues`. */
  readonly random?: RandomBytes | undefined
  /** Time; the system's unless given. */
  readonly clock?: Clock | undefined
  /** How long the head of an answer may take, in milliseconds: 30,000 unless given. */
  readonly timeout?: number | undefined
  /** Allows http to another machine, while developing. */
  readonly allowInsecure?: boolean | undefined
}

/** Who is signed in on this device. */
export interface Session {
  /** The active account's DID. */
  readonly did: string
  /** Its handle. */
  readonly handle: string
  /** Its display name. */
  readonly displayName: string | null
  /** The address of its picture. */
  readonly avatar: string | null
  /** When the session ends unless it is used again, in milliseconds since 1970. */
  readonly expiresAt: number
}

/** How a browser is sent to sign in. */
export interface SignInUrlOptions {
  /** A handle, a DID, or the address of a server. */
  readonly handle: string
  /** The path of the server to return to; `/` unless given. */
  readonly redirect?: string | undefined
  /** What the authorization server shows: `login`, `consent`, `select_account`, `create` or `none`. */
  readonly prompt?: string | undefined
}

/** A Bowerbird server, as an app sees it. One for the whole app. */
export class BowerbirdClient {
  /** The accounts of this device. */
  readonly accounts: Accounts
  /** Where they are signed in. */
  readonly devices: Devices
  /** Methods of the active account's own server. */
  readonly xrpc: Xrpc
  readonly #caller: Caller
  readonly #clock: Clock
  readonly #handOff: HandOff | undefined

  constructor(options: ClientOptions) {
    const { store, clock = systemClock, timeout = 30_000 } = options
    const tell = options.onSignInRequired ?? (() => {})
    const baseUrl = originOf(options.baseUrl, options.allowInsecure ?? false)
    // A seal and a cookie at once would contradict each other sooner or later.
    const transport = new Transport(baseUrl, fetchOf(options), store ? 'omit' : 'include', clock)
    const namespace = namespaceOf(options)
    const name = (of: string) => `${namespace}.${of}`
    const device = store && new DeviceSession({ transport, store, clock, timeout, name: name('session'), onEnded: tell })
    this.#clock = clock
    this.#caller = new Caller({ transport, clock, device, timeout, onSignInRequired: tell })
    if (store && device) {
      const redirect = checkRedirect(options.redirect ?? 'app://auth-callback')
      const random = options.random ?? systemRandom
      this.#handOff = new HandOff({ caller: this.#caller, device, store, clock, random, redirect, name: name('signIn') })
    }
    this.accounts = new Accounts(this.#caller, this.#handOff)
    this.devices = new Devices(this.#caller)
    this.xrpc = new Xrpc(this.#caller)
  }

  /** Who is signed in here; null when nobody is. Asks the server, and prolongs the session. */
  async session(signal?: AbortSignal): Promise<Session | null> {
    const { device } = this.#caller
    if (device && (await orNull(device.seal(signal))) === null) return null
    const body = await orNull(this.#caller.askQuietly('getSession', { signal }))
    if (body === null) return null
    const { did, handle, displayName, avatar, expiresAt } = body
    return { did, handle, displayName: displayName ?? null, avatar: avatar ?? null, expiresAt }
  }

  /** Whether somebody is signed in here. Asks the server; prolongs nothing. */
  async validate(signal?: AbortSignal): Promise<boolean> {
    const body = await orNull(this.#caller.askQuietly('validateSession', { signal }))
    return body?.valid === true
  }

  /**
   * Signs this device out, with all its accounts. When the server cannot be reached this throws and the session stays,
   * unless `force` says that it is forgotten here in any case; on the server it then ends by itself.
   */
  async signOut(options: { readonly force?: boolean; readonly signal?: AbortSignal } = {}): Promise<void> {
    const { device } = this.#caller
    try {
      await this.#caller.askQuietly('logout', { signal: options.signal, retry: options.force !== true })
    } catch (error) {
      const isForced = options.force === true && (error instanceof OfflineError || error instanceof ServerError)
      if (!isForced && !(error instanceof SignInRequiredError)) throw error
    }
    await device?.forget()
  }

  /** The address that begins a sign-in in a browser: `location.href = client.signInUrl({ handle })`. */
  signInUrl({ handle, redirect, prompt }: SignInUrlOptions): string {
    return this.#caller.url(`/login${queryOf({ handle, redirect, prompt })}`)
  }

  /**
   * Signs a person in in a window of its own, so that the page stays as it is; with somebody signed in, adds the account.
   * Call it in answer to a click. It waits for the person, until the signal says that they have given up.
   */
  async signInInWindow(options: SignInOptions & { readonly handle: string }): Promise<Session> {
    if (this.#handOff) throw new MistakeError('no_window', 'This session is an app\'s own', 'Use startSignIn and finishSignIn')
    await signInInWindow(this.#caller, this.#clock, options)
    const session = await this.session(options.signal)
    if (session) return session
    throw new SignInRequiredError('session_invalid', 'The browser did not keep the session', 'session_invalid')
  }

  /** Begins a sign-in in an app: open the `authUrl` in the system's browser. With somebody signed in, adds the account. */
  async startSignIn(options: SignInOptions): Promise<StartedSignIn> {
    return this.#handedOff('startSignIn').start(options)
  }

  /** Ends a sign-in in an app, with the address that the system's browser opened in it. */
  async finishSignIn(callbackUrl: string, signal?: AbortSignal): Promise<SignedIn> {
    return this.#handedOff('finishSignIn').finish(callbackUrl, signal)
  }

  /** Forgets a sign-in that was begun, such as when the person went back. It would end by itself after ten minutes. */
  async cancelSignIn(): Promise<void> {
    return this.#handedOff('cancelSignIn').cancel()
  }

  /** Methods of the own server of one account of this device, by its id or DID. */
  forAccount(account: string): Xrpc {
    return new Xrpc(this.#caller, account)
  }

  /** How the tokens of an account stand, the active one's unless another is named. Renews nothing. */
  async tokenHealth(options: { readonly account?: string; readonly signal?: AbortSignal } = {}): Promise<TokenHealth[]> {
    const headers = options.account ? { 'bowerbird-account': options.account } : {}
    return this.#caller.ask('tokenHealth', { headers, signal: options.signal })
  }

  /** What happened to the accounts of this device, the latest first; `before` is the `next` of an earlier answer. */
  async securityEvents(
    options: { readonly account?: string; readonly before?: string; readonly signal?: AbortSignal } = {},
  ): Promise<SecurityEventsBody> {
    const headers = options.account ? { 'bowerbird-account': options.account } : {}
    const params = { before: options.before }
    return this.#caller.ask('listSecurityEvents', { headers, params, signal: options.signal })
  }

  /**
   * Follows what happens to the access of this device's accounts: `for await (const event of client.events(signal))`.
   * Comes back by itself when the connection ends; throws when the session is over.
   */
  events(signal?: AbortSignal): AsyncGenerator<BowerbirdEvent, void, undefined> {
    return follow(this.#caller, this.#clock, signal)
  }

  #handedOff(what: string): HandOff {
    if (!this.#handOff) throw needsStore(what)
    return this.#handOff
  }
}

/** Nobody signed in is an answer here, no error. */
async function orNull<T>(asked: Promise<T>): Promise<T | null> {
  try {
    return await asked
  } catch (error) {
    if (error instanceof SignInRequiredError && error.sessionEnded) return null
    throw error
  }
}

function fetchOf({ fetch }: ClientOptions): Fetch {
  if (fetch) return fetch
  if (typeof globalThis.fetch !== 'function') {
    throw new MistakeError('no_fetch', 'This platform has no fetch', 'Give the client a `fetch`')
  }
  return (input, init) => globalThis.fetch(input, init)
}

function namespaceOf({ namespace = 'app.bowerbird' }: ClientOptions): string {
  if (/^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$/.test(namespace)) return namespace
  throw new MistakeError('namespace_invalid', 'That is not a namespace', 'Write it such as com.example.app')
}

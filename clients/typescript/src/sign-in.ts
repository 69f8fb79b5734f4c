import { callbackFlights } from './flights.js'
import type { Caller } from './caller.js'
import { codeOf } from './callback.js'
import type { Clock } from './clock.js'
import { type DeviceSession, inStore } from './device-session.js'
import { CallbackError, RefusedError, SignInRequiredError } from './errors.js'
import { makePkce } from './pkce.js'
import { queryOf } from './query.js'
import type { RandomBytes } from './random.js'
import type { AppStartBody, AuthStartedBody } from './schema.js'
import type { SecureStore } from './store.js'

/** How long a sign-in may take, in milliseconds; the server forgets it after that too. */
const LIFETIME = 600_000
/** How many codes are tried against one verifier; the server burns a code after three wrong verifiers. */
const MAX_CODES = 3

/** Who signs in. */
export interface SignInOptions {
  /**
   * A handle, a DID, or the address of a server. Without one, an app opens a page of the Bowerbird server that asks for it;
   * such a sign-in begins a session of its own.
   */
  readonly handle?: string | undefined
  /** What the authorization server shows: `login`, `consent`, `select_account`, `create` or `none`. */
  readonly prompt?: string | undefined
  /** Ends the call. */
  readonly signal?: AbortSignal | undefined
}

/** A sign-in that waits for the person. */
export interface StartedSignIn {
  /** The page to open in the system's browser: `ASWebAuthenticationSession`, Custom Tabs, `WebBrowser.openAuthSessionAsync`. */
  readonly authUrl: string
  /** The handle, as it was verified; null when the sign-in began with something else. */
  readonly handle: string | null
}

/** Who signed in. */
export interface SignedIn {
  /** The account's DID. */
  readonly did: string
  /** Its handle. */
  readonly handle: string
  /** The address of its server. */
  readonly pds: string
}

/** A sign-in under way, as it is kept until the browser returns, also while the app is not running. */
interface UnderWay {
  readonly verifier: string
  readonly startedAt: number
  readonly codesTried: number
}

/** What the hand-off needs. */
export interface HandOffParts {
  readonly caller: Caller
  readonly device: DeviceSession
  readonly store: SecureStore
  readonly clock: Clock
  readonly random: RandomBytes
  /** Where the app waits. */
  readonly redirect: string
  /** The name under which a sign-in under way is kept. */
  readonly name: string
}

/**
 * The sign-in by hand-off. The browser brings a one-time code to the app's address. Another app may claim that address
 * too, so the code alone is worth nothing: it is exchanged together with a verifier that never left the device.
 */
export class HandOff {
  readonly #parts: HandOffParts
  readonly #flights = callbackFlights<SignedIn>()

  constructor(parts: HandOffParts) {
    this.#parts = parts
  }

  /** Begins. With somebody signed in on this device, the account is added to those that are there. */
  async start({ handle, prompt, signal }: SignInOptions): Promise<StartedSignIn> {
    const { clock, random, redirect } = this.#parts
    const pkce = makePkce(random)
    // Kept first: the app may be stopped while the person is in the browser.
    await this.#keep({ verifier: pkce.verifier, startedAt: clock.now(), codesTried: 0 })
    if (handle === undefined) return { authUrl: this.#page(pkce.challenge, prompt), handle: null }
    const body: AppStartBody = {
      handle,
      code_challenge: pkce.challenge,
      code_challenge_method: 'S256',
      redirect_uri: redirect,
      prompt: prompt ?? null,
    }
    const started = await this.#begin(body, signal)
    return { authUrl: started.authUrl, handle: started.handle ?? null }
  }

  /** Ends, with the address that the browser opened in the app. The same address twice is one sign-in. */
  finish(callbackUrl: string, signal?: AbortSignal): Promise<SignedIn> {
    let code: string
    try {
      code = codeOf(this.#parts.redirect, callbackUrl)
    } catch (error) {
      return Promise.reject(error)
    }
    return this.#flights(code, () => this.#exchange(code), signal)
  }

  /** Forgets a sign-in under way; what comes back for it is not taken any more. */
  async cancel(): Promise<void> {
    const { store, name } = this.#parts
    await inStore('delete', () => store.delete(name))
  }

  #page(challenge: string, prompt: string | undefined): string {
    const { caller, redirect } = this.#parts
    const params = { code_challenge: challenge, code_challenge_method: 'S256', redirect_uri: redirect, prompt }
    return caller.url(`/mobile-auth${queryOf(params)}`)
  }

  async #begin(body: AppStartBody, signal: AbortSignal | undefined): Promise<AuthStartedBody> {
    const { caller, device } = this.#parts
    const question = { body, signal, retry: true }
    try {
      if (await device.seal(signal)) return await caller.askQuietly('startAppLogin', question)
    } catch (error) {
      // A session that is over is no reason not to sign in.
      if (!(error instanceof SignInRequiredError)) throw error
    }
    return caller.askAnonymously('startAppLogin', question)
  }

  async #exchange(code: string): Promise<SignedIn> {
    const { device, clock, store, name } = this.#parts
    const underWay = await this.#kept()
    if (!underWay || !isAlive(underWay, clock.now())) {
      throw new CallbackError('not_started', 'No sign-in is under way here', 'Begin again')
    }
    // A foreign code must not end the sign-in that is under way, and must not be tried for ever.
    await this.#keep({ ...underWay, codesTried: underWay.codesTried + 1 })
    try {
      const { did, handle, pds } = await device.adopt({ code, codeVerifier: underWay.verifier })
      await inStore('delete', () => store.delete(name))
      return { did, handle, pds }
    } catch (error) {
      if (error instanceof RefusedError && error.code.startsWith('code_')) {
        throw new RefusedError(error.code, 'The sign-in took too long, or was not begun here', 'Begin again', error)
      }
      throw error
    }
  }

  async #keep(underWay: UnderWay): Promise<void> {
    const { store, name } = this.#parts
    await inStore('save', () => store.save(name, JSON.stringify(underWay)))
  }

  async #kept(): Promise<UnderWay | null> {
    const { store, name } = this.#parts
    const text = await inStore('load', () => store.load(name))
    try {
      const value = JSON.parse(text ?? 'null') as Partial<UnderWay> | null
      if (typeof value?.verifier !== 'string' || typeof value.startedAt !== 'number') return null
      return { verifier: value.verifier, startedAt: value.startedAt, codesTried: value.codesTried ?? MAX_CODES }
    } catch {
      return null
    }
  }
}

function isAlive({ startedAt, codesTried }: UnderWay, now: number): boolean {
  const age = now - startedAt
  return codesTried < MAX_CODES && age >= -60_000 && age <= LIFETIME
}

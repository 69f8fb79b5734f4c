import { type Clock, waitFor } from './clock.js'
import { SignInRequiredError, StoreError } from './errors.js'
import { problemOf } from './problem.js'
import { persevere } from './recovery.js'
import { routes, type AppTokensBody, type TokensBody } from './schema.js'
import type { SecureStore } from './store.js'
import type { Transport } from './transport.js'

/** A session is renewed this long before it ends, or at a fifth of its life before, whichever is less. */
const RENEW_BEFORE = 5 * 60 * 1000

/** A session as it is kept on the device. Both tokens are the server's own; no token of a PDS ever comes here. */
interface KeptSession {
  readonly accessToken: string
  readonly refreshToken: string
  readonly issuedAt: number
  readonly expiresAt: number
}

/** What the server asks of a session: nothing but that the two are shown. */
export interface DeviceSessionParts {
  readonly transport: Transport
  readonly store: SecureStore
  readonly clock: Clock
  /** The name under which it is kept. */
  readonly name: string
  readonly timeout: number
  /** Told when the session is over, after it was forgotten. */
  readonly onEnded: (error: SignInRequiredError) => void
}

/** The session of a device that keeps it by itself: loaded once, renewed by one at a time, saved before it is used. */
export class DeviceSession {
  readonly #parts: DeviceSessionParts
  #kept: KeptSession | null | undefined
  #loading: Promise<KeptSession | null> | undefined
  #renewing: Promise<KeptSession> | undefined
  /** Counts what was kept or forgotten: a renewal that began before must not undo it. */
  #changes = 0
  #writes: Promise<unknown> = Promise.resolve()

  constructor(parts: DeviceSessionParts) {
    this.#parts = parts
  }

  /**
   * The seal to show; null when nobody is signed in. One that has ended is renewed first; one that ends soon is shown,
   * and renewed meanwhile.
   */
  async seal(signal?: AbortSignal): Promise<string | null> {
    const kept = await waitFor(this.#load(), signal)
    if (kept === null) return null
    if (kept.expiresAt <= this.#parts.clock.now()) return (await waitFor(this.#renew(kept), signal)).accessToken
    if (this.#isDue(kept)) {
      // Early is early: a server that cannot renew it now stops nobody, and whoever comes next tries again.
      this.#renew(kept).catch(() => {})
    }
    return kept.accessToken
  }

  /** Another seal than this one, which the server did not take. */
  async sealInPlaceOf(refused: string, signal?: AbortSignal): Promise<string> {
    const kept = await waitFor(this.#load(), signal)
    if (kept === null) throw signedOut()
    if (kept.accessToken !== refused) return kept.accessToken
    return (await waitFor(this.#renew(kept), signal)).accessToken
  }

  /** Takes what an exchange gave. Kept before it is used. */
  async adopt(body: TokensBody, signal?: AbortSignal): Promise<AppTokensBody> {
    const answer = await persevere(this.#parts.clock, signal, () => this.#exchange(body, signal))
    await this.#save(keptOf(answer, this.#parts.clock.now()))
    return answer
  }

  /** Takes another seal of the same session, such as an app password gives. */
  async replaceSeal(seal: string): Promise<void> {
    const kept = await this.#load()
    if (kept === null) throw signedOut()
    await this.#save({ ...kept, accessToken: seal })
  }

  /** Forgets the session. */
  async forget(): Promise<void> {
    this.#changes += 1
    this.#kept = null
    const { store, name } = this.#parts
    await this.#write(() => inStore('delete', () => store.delete(name)))
  }

  /** One at a time, however many wait for it; nobody who waits can abort it. */
  #renew(kept: KeptSession): Promise<KeptSession> {
    this.#renewing ??= this.#renewHere(kept).finally(() => (this.#renewing = undefined))
    return this.#renewing
  }

  async #renewHere(known: KeptSession): Promise<KeptSession> {
    // Another instance of the app, such as a background task, may have renewed it. To show a refresh token whose
    // successor was used would end the session.
    const kept = (await this.#read()) ?? known
    if (kept.accessToken !== known.accessToken && !this.#isDue(kept)) return (this.#kept = kept)
    const { clock, onEnded } = this.#parts
    const changes = this.#changes
    try {
      const answer = await persevere(clock, undefined, () => this.#exchange({ refreshToken: kept.refreshToken }))
      const fresh = keptOf(answer, clock.now())
      if (await this.#save(fresh, changes)) return fresh
    } catch (error) {
      if (error instanceof SignInRequiredError && this.#changes === changes) {
        await this.forget()
        onEnded(error)
      }
      throw error
    }
    // The person signed in or out in the meantime.
    if (!this.#kept) throw signedOut()
    return this.#kept
  }

  async #exchange(body: TokensBody, signal?: AbortSignal): Promise<AppTokensBody> {
    const { method, path } = routes.exchangeTokens
    const call = {
      method,
      path,
      headers: { accept: 'application/json', 'content-type': 'application/json' },
      body: JSON.stringify(body),
      signal,
      timeout: this.#parts.timeout,
    }
    return this.#parts.transport.send(call, async (response) => {
      if (!response.ok) throw await problemOf(response)
      return (await response.json()) as AppTokensBody
    })
  }

  #isDue(kept: KeptSession): boolean {
    const life = Math.max(0, kept.expiresAt - kept.issuedAt)
    return kept.expiresAt - this.#parts.clock.now() <= Math.min(RENEW_BEFORE, life / 5)
  }

  async #load(): Promise<KeptSession | null> {
    if (this.#kept !== undefined) return this.#kept
    this.#loading ??= this.#read().finally(() => (this.#loading = undefined))
    const read = await this.#loading
    // Whoever signed in or out in the meantime knows better.
    return this.#kept === undefined ? (this.#kept = read) : this.#kept
  }

  async #read(): Promise<KeptSession | null> {
    const text = await inStore('load', () => this.#parts.store.load(this.#parts.name))
    return text === null ? null : parse(text)
  }

  /** Keeps a session, unless something else was kept or forgotten since the given count; tells whether it did. */
  async #save(kept: KeptSession, since?: number): Promise<boolean> {
    return this.#write(async () => {
      if (since !== undefined && since !== this.#changes) return false
      const { store, name } = this.#parts
      await inStore('save', () => store.save(name, JSON.stringify(kept)))
      this.#changes += 1
      this.#kept = kept
      return true
    })
  }

  /** One after the other, so that the last one counts. */
  #write<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#writes.then(work)
    this.#writes = done.catch(() => {})
    return done
  }
}

/** Does something in the store; its errors become ours. */
export async function inStore<T>(operation: 'load' | 'save' | 'delete', work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw new StoreError(operation, error)
  }
}

function keptOf(answer: AppTokensBody, now: number): KeptSession {
  const { accessToken, refreshToken, expiresIn } = answer
  return { accessToken, refreshToken, issuedAt: now, expiresAt: now + expiresIn * 1000 }
}

/** Reads what was kept; null when it is none of ours. */
function parse(text: string): KeptSession | null {
  try {
    const value = JSON.parse(text) as Partial<Record<keyof KeptSession, unknown>> | null
    const { accessToken, refreshToken, issuedAt, expiresAt } = value ?? {}
    if (isToken(accessToken) && isToken(refreshToken) && typeof issuedAt === 'number' && typeof expiresAt === 'number') {
      return { accessToken, refreshToken, issuedAt, expiresAt }
    }
  } catch {
    // Not JSON: as below.
  }
  return null
}

/** What can stand in a header, so that no error of the platform ever quotes it. */
function isToken(value: unknown): value is string {
  return typeof value === 'string' && /^[\x21-\x7e]+$/.test(value)
}

function signedOut(): SignInRequiredError {
  return new SignInRequiredError('signed_out', 'Nobody is signed in on this device', 'signed_out')
}

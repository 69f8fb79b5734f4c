import { BowerbirdClient, type Clock, type ClientOptions, MemoryStore, type SecureStore } from 'bowerbird-client'

/** A moment, for a clock that stands still unless it is moved. */
export const START = 1_767_225_600_000
export const BASE = 'https://bower.example'

/** A request as the server would see it. */
export interface Seen {
  method: string
  path: string
  headers: Headers
  body: unknown
  init: RequestInit
}

export type Reply = (seen: Seen) => Response | Promise<Response>

/** Answers by script: for each path one reply after the other, the last one again and again. */
export class ScriptedServer {
  readonly seen: Seen[] = []
  readonly #replies = new Map<string, Reply[]>()

  on(call: string, ...replies: Reply[]): this {
    this.#replies.set(call, replies)
    return this
  }

  calls(call: string): Seen[] {
    return this.seen.filter(({ method, path }) => `${method} ${path.split('?')[0]}` === call)
  }

  readonly fetch = async (input: string, init: RequestInit): Promise<Response> => {
    const method = init.method ?? 'GET'
    const path = input.startsWith(BASE) ? input.slice(BASE.length) : input
    const seen: Seen = { method, path, headers: new Headers(init.headers), body: init.body, init }
    this.seen.push(seen)
    const name = `${method} ${path.split('?')[0]}`
    const replies = this.#replies.get(name)
    const reply = replies && replies.length > 1 ? replies.shift() : replies?.[0]
    if (!reply) throw new Error(`nothing is scripted for ${name}`)
    return reply(seen)
  }
}

export const json =
  (value: unknown, status = 200, headers: Record<string, string> = {}): Reply =>
  () =>
    new Response(JSON.stringify(value), { status, headers: { 'content-type': 'application/json', ...headers } })

/** An error of Bowerbird itself, as opposed to one of a PDS. */
export const refusal = (status: number, code: string, more: object = {}, headers: Record<string, string> = {}): Reply =>
  json({ error: code, message: `about ${code}`, request_id: 'r-1', ...more }, status, { 'bowerbird-error': code, ...headers })

export const unreachable: Reply = () => {
  throw new TypeError('fetch failed')
}

/** Waits until it is aborted, as the platform's fetch does. */
export const hanging: Reply = ({ init }) =>
  new Promise((_, reject) => {
    const { signal } = init
    const abort = () => reject(Object.assign(new Error('aborted'), { name: 'AbortError' }))
    if (signal?.aborted) abort()
    else signal?.addEventListener('abort', abort)
  })

export const signedOut = refusal(401, 'session_invalid')

/** A clock that nobody has to wait for. */
export class FakeClock implements Clock {
  time = START
  /** How long was waited, each time that `run` had to move the clock. */
  readonly waited: number[] = []
  #timers: Array<{ at: number; run: () => void }> = []

  now(): number {
    return this.time
  }

  after(millis: number, run: () => void): () => void {
    const timer = { at: this.time + millis, run }
    this.#timers.push(timer)
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer)
    }
  }

  get timers(): number {
    return this.#timers.length
  }

  /** Settles a promise: whenever nothing else happens, the next timer is due. */
  async run<T>(promise: Promise<T>): Promise<T> {
    let settled = false
    promise.then(
      () => (settled = true),
      () => (settled = true),
    )
    for (;;) {
      await quiet()
      if (settled) return promise
      this.tick()
    }
  }

  /** Moves to the next timer. */
  tick(): void {
    const next = this.#timers.sort((a, b) => a.at - b.at).shift()
    if (!next) throw new Error('nothing happens any more')
    this.waited.push(next.at - this.time)
    this.time = next.at
    next.run()
  }
}

/** Everything that can happen without time has happened. */
export async function quiet(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve))
}

/** What an exchange answers; both tokens carry a number to tell them apart. */
export const tokens = (number: number, expiresIn = 3600) => ({
  accessToken: `seal-${number}`,
  refreshToken: `refresh-${number}`,
  handle: 'alice.test',
  did: 'did:plc:alice',
  pds: 'https://pds.example',
  expiresIn,
  sid: `long-seal-${number}`,
})

export const NAME = 'com.example.app.session'

/** A store with a session in it. */
export async function storeWith(number: number, issuedAt = START, expiresIn = 3600): Promise<MemoryStore> {
  const store = new MemoryStore()
  const { accessToken, refreshToken } = tokens(number)
  const kept = { accessToken, refreshToken, issuedAt, expiresAt: issuedAt + expiresIn * 1000 }
  await store.save(NAME, JSON.stringify(kept))
  return store
}

export function setUp(more: Partial<ClientOptions> = {}) {
  const server = new ScriptedServer()
  const clock = new FakeClock()
  const told: Array<{ reason: string; repairUrl: string | undefined }> = []
  const client = new BowerbirdClient({
    baseUrl: BASE,
    fetch: server.fetch,
    clock,
    namespace: 'com.example.app',
    onSignInRequired: ({ reason, repairUrl }) => told.push({ reason, repairUrl }),
    ...more,
  })
  return { server, clock, client, told }
}

export async function setUpApp(store?: SecureStore, more: Partial<ClientOptions> = {}) {
  const kept = store ?? (await storeWith(1))
  return { store: kept, ...setUp({ store: kept, ...more }) }
}

/** What a call rejects with. */
export async function rejection<T extends Error>(promise: Promise<unknown>, kind: abstract new (...args: never[]) => T): Promise<T> {
  try {
    await promise
  } catch (error) {
    if (error instanceof kind) return error
    throw error
  }
  throw new Error(`this should have failed with ${kind.name}`)
}

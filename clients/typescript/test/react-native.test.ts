import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { before, test } from 'node:test'
import type * as Package from 'bowerbird-client'
import type * as Support from './support.js'

/** As in React Native: what is aborted has no reason. */
class PlainAbortController {
  readonly #target = new EventTarget()
  readonly signal = {
    aborted: false,
    addEventListener: this.#target.addEventListener.bind(this.#target),
    removeEventListener: this.#target.removeEventListener.bind(this.#target),
  }
  abort(): void {
    this.signal.aborted = true
    this.#target.dispatchEvent(new Event('abort'))
  }
}

/** As in React Native: an answer has no stream. */
class PlainResponse {
  readonly body = null
  readonly headers: Headers
  readonly status: number
  readonly #text: string
  constructor(text: string, { status = 200, headers = {} }: { status?: number; headers?: Record<string, string> } = {}) {
    this.headers = new Headers(headers)
    this.status = status
    this.#text = text
  }
  get ok(): boolean {
    return this.status < 400
  }
  async text(): Promise<string> {
    return this.#text
  }
  async json(): Promise<unknown> {
    return JSON.parse(this.#text)
  }
}

/** What React Native lacks, or has as an empty shell only. */
const MISSING = ['URL', 'URLSearchParams', 'Buffer', 'TextDecoder', 'TextEncoder', 'ReadableStream', 'DOMException', 'btoa', 'atob', 'structuredClone']

let bowerbird: typeof Package
let support: typeof Support

before(async () => {
  support = await import('./support.js')
  assert.ok(new Headers({ a: 'b' })) // Node loads it when it is used for the first time, with what is taken away now
  for (const name of MISSING) Reflect.deleteProperty(globalThis, name)
  const { getRandomValues } = globalThis.crypto
  Object.defineProperty(globalThis, 'crypto', { value: { getRandomValues: getRandomValues.bind(globalThis.crypto) }, configurable: true })
  Object.defineProperty(globalThis, 'AbortController', { value: PlainAbortController, configurable: true })
  Object.defineProperty(globalThis, 'Response', { value: PlainResponse, configurable: true })
  for (const name of MISSING) assert.equal(name in globalThis, false, name)
  bowerbird = await import('bowerbird-client')
})

test('a sign-in, a call and a sign-out, with what React Native has', async () => {
  const { json, setUpApp, tokens } = support
  const { server, client } = await setUpApp(new bowerbird.MemoryStore())
  server.on('POST /api/auth/start', json({ authUrl: 'https://as.example/' })).on('POST /api/auth/tokens', json(tokens(1)))
  server.on('GET /xrpc/app.bsky.feed.getTimeline', json({ feed: [] })).on('POST /api/auth/logout', json({ success: true }))
  await client.startSignIn({ handle: 'alice.test' })
  await client.finishSignIn('app://auth-callback?code=a%2Bb')
  const [begun, exchanged] = server.seen.map(({ body }) => JSON.parse(String(body)))
  assert.equal(begun.code_challenge, createHash('sha256').update(exchanged.codeVerifier).digest('base64url'))
  assert.equal(exchanged.code, 'a+b')
  assert.deepEqual(await client.xrpc.query('app.bsky.feed.getTimeline', { limit: 5, q: 'ü' }), { feed: [] })
  await client.signOut()
  assert.equal(await client.session(), null)
})

test('an abort without a reason is an AbortError', async () => {
  const { hanging, setUp } = support
  const { server, client } = setUp()
  server.on('GET /api/accounts', hanging)
  const stop = new PlainAbortController()
  setTimeout(() => stop.abort(), 5)
  await assert.rejects(client.accounts.list(stop.signal as unknown as AbortSignal), { name: 'AbortError' })
})

test('events need a fetch with streams', async () => {
  const { json, rejection, setUp } = support
  const { server, client } = setUp()
  server.on('GET /api/events', json({}))
  assert.match((await rejection(client.events().next(), bowerbird.MistakeError)).message, /expo\/fetch/)
})

test('without randomness it says where to get some, and takes it', async () => {
  const { json, rejection, setUpApp } = support
  Object.defineProperty(globalThis, 'crypto', { value: undefined, configurable: true })
  const { client } = await setUpApp(new bowerbird.MemoryStore())
  const error = await rejection(client.startSignIn({ handle: 'alice.test' }), bowerbird.MistakeError)
  assert.match(error.message, /getRandomBytes.*expo-crypto/)

  const random = (length: number) => new Uint8Array(length).fill(7)
  const given = await setUpApp(new bowerbird.MemoryStore(), { random })
  given.server.on('POST /api/auth/start', json({ authUrl: 'https://as.example/' }))
  await given.client.startSignIn({ handle: 'alice.test' })
})

test('the stores of Expo and of react-native-keychain', async () => {
  const items = new Map<string, string>()
  const seen: unknown[] = []
  const expo = bowerbird.expoSecureStore(
    {
      getItemAsync: async (key: string, options?: { keychainAccessible: number }) => (seen.push(options), items.get(key) ?? null),
      setItemAsync: async (key: string, value: string) => void items.set(key, value),
      deleteItemAsync: async (key: string) => void items.delete(key),
    },
    { keychainAccessible: 1 },
  )
  const passwords = new Map<string, string>()
  const keychain = bowerbird.reactNativeKeychain(
    {
      getGenericPassword: async ({ service }: { accessible: string; service: string }) => {
        const password = passwords.get(service)
        return password === undefined ? false : { password }
      },
      setGenericPassword: async (_: string, password: string, { service, accessible }: { accessible: string; service: string }) => {
        seen.push(accessible)
        passwords.set(service, password)
        return { service }
      },
      resetGenericPassword: async ({ service }: { service: string }) => passwords.delete(service),
    },
    { accessible: 'AfterFirstUnlock' },
  )
  for (const store of [expo, keychain]) {
    assert.equal(await store.load('com.example.app.session'), null)
    await store.save('com.example.app.session', 'one')
    await store.save('com.example.app.session', 'two')
    await store.save('com.example.app.signIn', 'other')
    assert.equal(await store.load('com.example.app.session'), 'two')
    await store.delete('com.example.app.session')
    await store.delete('com.example.app.session')
    assert.equal(await store.load('com.example.app.session'), null)
    assert.equal(await store.load('com.example.app.signIn'), 'other')
  }
  assert.ok(seen.includes('AfterFirstUnlock') && seen.some((options) => (options as { keychainAccessible?: number })?.keychainAccessible === 1))
  const full = bowerbird.reactNativeKeychain({ ...({} as Package.ReactNativeKeychain<object>), setGenericPassword: async () => false })
  await assert.rejects(full.save('x', 'canary'), (error: Error) => !error.message.includes('canary'))
})

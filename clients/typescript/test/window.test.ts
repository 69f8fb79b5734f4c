import assert from 'node:assert/strict'
import { beforeEach, test } from 'node:test'
import { CallbackError, MemoryStore, MistakeError } from 'bowerbird-client'
import { BASE, json, quiet, rejection, setUp, signedOut, unreachable } from './support.js'

const SESSION = { valid: true, did: 'did:plc:alice', handle: 'alice.test', expiresAt: 1 }
const listed = (...logins: Array<[string, number]>) => json({ accounts: logins.map(([id, lastLoginAt]) => ({ id, lastLoginAt })) })

const listeners = new Set<(event: object) => void>()
const opened: string[] = []
let closed = 0
let isBlocked = false
const hear = (origin: string, data: unknown) => [...listeners].forEach((listener) => listener({ origin, data }))

beforeEach(() => {
  listeners.clear()
  opened.length = 0
  closed = 0
  isBlocked = false
  Object.assign(globalThis, {
    location: { origin: 'https://app.example' },
    open: (url: string) => {
      opened.push(url)
      return isBlocked ? null : { close: () => (closed += 1) }
    },
    addEventListener: (_: string, listener: (event: object) => void) => listeners.add(listener),
    removeEventListener: (_: string, listener: (event: object) => void) => listeners.delete(listener),
  })
})

test('a window tells the page; others are not believed', async () => {
  const { server, clock, client } = setUp()
  server.on('GET /api/accounts', signedOut).on('GET /api/auth/session', json(SESSION))
  const signIn = client.signInInWindow({ handle: 'alice.test' })
  assert.deepEqual(opened, [`${BASE}/login?handle=alice.test&pwa=true&origin=https%3A%2F%2Fapp.example`])
  await quiet()
  let settled = false
  void signIn.then(() => (settled = true))
  hear('https://evil.example', { type: 'oauth-callback', success: true })
  hear(BASE, { type: 'something' })
  hear(BASE, null)
  await quiet()
  assert.equal(settled, false)
  hear(BASE, { type: 'oauth-callback', success: true })
  assert.equal((await signIn).did, 'did:plc:alice')
  assert.deepEqual([closed, listeners.size, clock.timers], [1, 0, 0])
})

test('a window that was cut off is found out about, also when the same account comes again', async () => {
  const { server, clock, client, told } = setUp()
  server.on('GET /api/accounts', listed(['a', 5]), listed(['a', 5]), listed(['a', 9])).on('GET /api/auth/session', json(SESSION))
  await clock.run(client.signInInWindow({ handle: 'alice.test' }))
  assert.deepEqual([clock.waited, closed, listeners.size, told], [[2000, 2000], 1, 0, []])
  server.on('GET /api/accounts', signedOut, signedOut, listed(['b', 1]))
  await clock.run(client.signInInWindow({ handle: 'alice.test' }))
  assert.deepEqual(told, [])
})

test('a refusal in a window that was cut off is found out about', async () => {
  const { server, clock, client } = setUp()
  server.on('GET /api/accounts', signedOut)
  const end = { type: 'oauth-callback', success: false, error: 'access_denied', timestamp: 1 }
  const none = () => new Response(null, { status: 204 })
  // One of an earlier window is let go, and is no answer to this one.
  server.on('GET /api/auth/window-end', json({ ...end, error: 'of_an_earlier_one' }), none, json(end))
  const refused = await rejection(clock.run(client.signInInWindow({ handle: 'alice.test' })), CallbackError)
  assert.deepEqual([refused.code, refused.error, clock.waited], ['refused', 'access_denied', [2000, 2000]])
  assert.deepEqual([closed, listeners.size, clock.timers], [1, 0, 0])
})

test('a moment without network is no end', async () => {
  const { server, clock, client } = setUp()
  server.on('GET /api/accounts', signedOut, unreachable, unreachable, unreachable, unreachable, listed(['a', 1]))
  server.on('GET /api/auth/session', json(SESSION))
  await clock.run(client.signInInWindow({ handle: 'alice.test' }))
  assert.deepEqual(clock.waited, [2000, 2000, 4000, 8000, 2000])
})

test('a person says no, or gives up', async () => {
  const { server, clock, client } = setUp()
  server.on('GET /api/accounts', signedOut)
  const refused = rejection(client.signInInWindow({ handle: 'alice.test' }), CallbackError)
  await quiet()
  hear(BASE, { type: 'oauth-callback', success: false, error: 'access_denied' })
  assert.deepEqual([(await refused).code, (await refused).error], ['refused', 'access_denied'])
  const stop = new AbortController()
  const given = client.signInInWindow({ handle: 'alice.test', signal: stop.signal })
  await quiet()
  stop.abort()
  await assert.rejects(given, { name: 'AbortError' })
  assert.deepEqual([closed, listeners.size, clock.timers], [2, 0, 0])
})

test('where there are no windows, or none is allowed', async () => {
  const { client, server } = setUp()
  isBlocked = true
  assert.equal((await rejection(client.signInInWindow({ handle: 'a.test' }), MistakeError)).code, 'window_blocked')
  const app = setUp({ store: new MemoryStore() })
  assert.equal((await rejection(app.client.signInInWindow({ handle: 'a.test' }), MistakeError)).code, 'no_window')
  Reflect.deleteProperty(globalThis, 'open')
  assert.equal((await rejection(client.signInInWindow({ handle: 'a.test' }), MistakeError)).code, 'no_window')
  assert.equal(server.seen.length, 0)
})

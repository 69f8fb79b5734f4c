import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { test } from 'node:test'
import { NETWORK_PAUSES, OfflineError, RateLimitedError, SERVER_PAUSES, ServerError } from 'bowerbird-client'
import { hanging, json, quiet, refusal, rejection, setUp, setUpApp, START, tokens, unreachable } from './support.js'

const QUERY = 'GET /xrpc/app.bsky.feed.getTimeline'
const PROCEDURE = 'POST /xrpc/com.atproto.repo.createRecord'

test('the network is tried again after 2, 4 and 8 seconds, and no more', async () => {
  const { server, clock, client } = setUp()
  server.on(QUERY, unreachable)
  const error = await rejection(clock.run(client.xrpc.query('app.bsky.feed.getTimeline')), OfflineError)
  assert.deepEqual(clock.waited, [2000, 4000, 8000])
  assert.deepEqual(NETWORK_PAUSES, [2000, 4000, 8000])
  assert.equal(server.seen.length, 4)
  assert.match(error.message, /bower\.example could not be reached\. Check the connection, then try again\./)
  assert.equal(error.isTemporary, true)
  assert.equal(clock.timers, 0, 'nothing ticks on')
})

test('a network that comes back is not noticed', async () => {
  const { server, clock, client } = setUp()
  server.on(QUERY, unreachable, unreachable, json({ feed: [] }))
  assert.deepEqual(await clock.run(client.xrpc.query('app.bsky.feed.getTimeline')), { feed: [] })
  assert.deepEqual(clock.waited, [2000, 4000])
})

test('a server that fails is tried again after 2 and 4 seconds', async () => {
  const { server, clock, client } = setUp()
  server.on(QUERY, refusal(500, 'internal', { hint: 'Look at the log' }))
  const error = await rejection(clock.run(client.xrpc.query('app.bsky.feed.getTimeline')), ServerError)
  assert.deepEqual(clock.waited, [...SERVER_PAUSES])
  assert.equal(error.message, 'about internal. Look at the log.')
  assert.deepEqual([error.code, error.status, error.requestId], ['internal', 500, 'r-1'])
})

test("a server's own wish is kept within reason", async () => {
  const { server, clock, client } = setUp()
  server.on(QUERY, refusal(503, 'try_later', {}, { 'retry-after': '5' }), json({}))
  await clock.run(client.xrpc.query('app.bsky.feed.getTimeline'))
  assert.deepEqual(clock.waited, [5000])

  server.on(QUERY, refusal(503, 'try_later', {}, { 'retry-after': '3600' }))
  const error = await rejection(clock.run(client.xrpc.query('app.bsky.feed.getTimeline')), ServerError)
  assert.deepEqual([error.retryAfter, clock.waited], [3600, [5000]])
})

test('too many calls are not made more', async () => {
  const { server, clock, client } = setUp()
  server.on(QUERY, refusal(429, 'rate_limited', {}, { 'retry-after': '30' }))
  const error = await rejection(clock.run(client.xrpc.query('app.bsky.feed.getTimeline')), RateLimitedError)
  assert.deepEqual([server.seen.length, error.retryAfter], [1, 30])
  assert.match(error.message, /Try again in 30 seconds/)
})

test('what may have happened is not sent twice, unless the app says so', async () => {
  const { server, clock, client } = setUp()
  server.on(PROCEDURE, unreachable)
  await rejection(clock.run(client.xrpc.procedure('com.atproto.repo.createRecord', {})), OfflineError)
  assert.equal(server.seen.length, 1)

  server.on(PROCEDURE, unreachable, json({ uri: 'at://x' }))
  await clock.run(client.xrpc.procedure('com.atproto.repo.createRecord', {}, { retry: true }))
  assert.equal(server.seen.length, 3)
})

test('an abort ends a pause, a request, and what was not begun', async () => {
  const { server, clock, client } = setUp()
  const reason = new Error('enough')
  server.on(QUERY, unreachable)
  const pausing = new AbortController()
  const call = client.xrpc.query('app.bsky.feed.getTimeline', {}, { signal: pausing.signal })
  setTimeout(() => pausing.abort(reason), 5)
  await assert.rejects(call, (error) => error === reason)
  assert.equal(clock.timers, 0)

  server.on(QUERY, hanging)
  const requesting = new AbortController()
  setTimeout(() => requesting.abort(reason), 5)
  await assert.rejects(client.xrpc.query('app.bsky.feed.getTimeline', {}, { signal: requesting.signal }), (error) => error === reason)

  const before = server.seen.length
  await assert.rejects(client.accounts.list(AbortSignal.abort(reason)), (error) => error === reason)
  assert.equal(server.seen.length, before)
})

test('a server that never answers is given up in time', async () => {
  const { server, clock, client } = setUp()
  server.on(PROCEDURE, hanging)
  const error = await rejection(clock.run(client.xrpc.procedure('com.atproto.repo.createRecord', {})), OfflineError)
  assert.match(error.message, /did not answer in time/)
  assert.deepEqual(clock.waited, [30_000])
  await rejection(clock.run(client.xrpc.procedure('com.atproto.repo.createRecord', {}, { timeout: 50 })), OfflineError)
  assert.deepEqual(clock.waited, [30_000, 50])
})

test('an upload may take longer than anything else', async () => {
  const { server, clock, client } = setUp()
  server.on('POST /xrpc/com.atproto.repo.uploadBlob', hanging)
  const stop = new AbortController()
  const upload = client.xrpc.procedure('com.atproto.repo.uploadBlob', new Uint8Array(9), { signal: stop.signal })
  await quiet()
  assert.equal(clock.timers, 0)
  stop.abort()
  await assert.rejects(upload, { name: 'AbortError' })
  const short = client.xrpc.procedure('com.atproto.repo.uploadBlob', new Uint8Array(9), { timeout: 70 })
  await rejection(clock.run(short), OfflineError)
  assert.deepEqual(clock.waited, [70])
})

test('a signal that lives as long as the app is not held on to', async () => {
  const { signal } = new AbortController()
  const { server, clock, client } = await setUpApp()
  clock.time = START + 3_600_000
  server.on(QUERY, unreachable, json({})).on('POST /api/auth/tokens', json(tokens(2)))
  await clock.run(client.xrpc.query('app.bsky.feed.getTimeline', {}, { signal }))
  server.on(QUERY, refusal(400, 'invalid_request'))
  await assert.rejects(client.xrpc.query('app.bsky.feed.getTimeline', {}, { signal }))
  assert.deepEqual(getEventListeners(signal, 'abort'), [])
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MistakeError, OfflineError, RefusedError, ServerError, SignInRequiredError, XrpcError } from 'bowerbird-client'
import { json, refusal, rejection, setUp, setUpApp, signedOut, unreachable } from './support.js'

const UPLOAD = 'POST /xrpc/com.atproto.repo.uploadBlob'

test('a query has its parameters and headers', async () => {
  const { server, client } = setUp()
  server.on('GET /xrpc/app.bsky.actor.getProfiles', json({ profiles: [] }))
  const params = { actors: ['a.test', 'did:plc:b&c'], limit: 5, deep: true, cursor: undefined, none: null }
  await client.forAccount('did:plc:bob').query('app.bsky.actor.getProfiles', params, {
    proxy: 'did:web:api.bsky.app#bsky_appview',
    labelers: ['did:plc:ar7c4by46qjdydhdevvrndac;redact', 'did:plc:other'],
    headers: { 'Accept-Language': 'de' },
  })
  const [seen] = server.seen
  assert.equal(seen?.path, '/xrpc/app.bsky.actor.getProfiles?actors=a.test&actors=did%3Aplc%3Ab%26c&limit=5&deep=true')
  // React Native's fetch would write a parameter into the address for it.
  assert.equal('cache' in (seen?.init ?? {}), false)
  const sent = Object.fromEntries(seen?.headers ?? [])
  assert.deepEqual(sent, {
    accept: 'application/json',
    'accept-language': 'de',
    'atproto-accept-labelers': 'did:plc:ar7c4by46qjdydhdevvrndac;redact, did:plc:other',
    'atproto-proxy': 'did:web:api.bsky.app#bsky_appview',
    'bowerbird-account': 'did:plc:bob',
  })
})

test('bodies are sent as what they are', async () => {
  const { server, client } = setUp()
  server.on(UPLOAD, json({ blob: {} }))
  const upload = (body: unknown, options = {}) => client.xrpc.procedure('com.atproto.repo.uploadBlob', body, options)
  await upload({ a: 1 })
  await upload(new Uint8Array([1, 2, 3]), { encoding: 'image/png' })
  await upload(new Blob(['x'], { type: 'image/jpeg' }))
  await upload(new Uint8Array([1]).buffer)
  await upload(undefined, { params: { a: 'b' } })
  const types = server.seen.map(({ headers }) => headers.get('content-type'))
  assert.deepEqual(types, ['application/json', 'image/png', 'image/jpeg', 'application/octet-stream', null])
  assert.equal(server.seen[0]?.body, '{"a":1}')
  assert.ok(server.seen[1]?.body instanceof Uint8Array && server.seen[2]?.body instanceof Blob)
  assert.equal(server.seen[4]?.path, '/xrpc/com.atproto.repo.uploadBlob?a=b')
})

test('a stream is sent once, whatever happens', async () => {
  const { server, client } = await setUpApp()
  server.on(UPLOAD, signedOut)
  const stream = new ReadableStream<Uint8Array>({ pull: (controller) => controller.close() })
  await rejection(client.xrpc.procedure('com.atproto.repo.uploadBlob', stream, { retry: true }), SignInRequiredError)
  assert.equal(server.calls(UPLOAD).length, 1)
  assert.equal((server.seen[0]?.init as { duplex?: string }).duplex, 'half')
  server.on(UPLOAD, unreachable)
  await rejection(client.xrpc.procedure('com.atproto.repo.uploadBlob', stream, { retry: true }), OfflineError)
  assert.equal(server.calls(UPLOAD).length, 2)
})

test('an answer that is no JSON is not quoted', async () => {
  const { server, client } = setUp()
  server.on('GET /xrpc/com.atproto.sync.getBlob', () => new Response('canary{')).on(UPLOAD, () => new Response('canary{'))
  for (const call of [client.xrpc.query('com.atproto.sync.getBlob'), client.xrpc.procedure('com.atproto.repo.uploadBlob', 'x')]) {
    const error = await rejection(call, RefusedError)
    assert.deepEqual([error.code, error.message.includes('canary'), error.cause], ['answer_unreadable', false, undefined])
  }
})

test('an empty answer is none', async () => {
  const { server, client } = setUp()
  server.on('POST /xrpc/app.bsky.actor.putPreferences', () => new Response(null, { status: 200 }))
  assert.equal(await client.xrpc.procedure('app.bsky.actor.putPreferences', {}), undefined)
})

test("errors of the account's own server are passed on by name", async () => {
  const { server, client, told } = setUp()
  server.on('GET /xrpc/com.atproto.repo.getRecord', json({ error: 'RecordNotFound', message: 'Could not locate record' }, 400))
  const error = await rejection(client.xrpc.query('com.atproto.repo.getRecord'), XrpcError)
  assert.deepEqual(
    [error.error, error.status, error.method, error.message],
    ['RecordNotFound', 400, 'com.atproto.repo.getRecord', 'com.atproto.repo.getRecord: RecordNotFound: Could not locate record'],
  )
  // A 401 of the PDS is none of ours: nobody is asked to sign in here.
  server.on('GET /xrpc/com.atproto.repo.getRecord', json({ error: 'AuthMissing' }, 401))
  await rejection(client.xrpc.query('com.atproto.repo.getRecord'), XrpcError)
  assert.deepEqual(told, [])
})

test('something on the way that is no XRPC server has failed', async () => {
  const { server, clock, client } = setUp()
  server.on('GET /xrpc/com.atproto.repo.getRecord', () => new Response('<h1>Bad Gateway', { status: 502 }))
  const error = await rejection(clock.run(client.xrpc.query('com.atproto.repo.getRecord')), ServerError)
  assert.deepEqual([error.code, server.seen.length], ['http_502', 3])
})

test('the answer itself, for headers and binary bodies', async () => {
  const { server, client } = setUp()
  const headers = { 'content-type': 'image/png', 'atproto-content-labelers': 'did:plc:x' }
  server.on('GET /xrpc/com.atproto.sync.getBlob', () => new Response(new Uint8Array([137, 80]), { headers }))
  const answer = await client.xrpc.raw('com.atproto.sync.getBlob', { did: 'did:plc:x', cid: 'c' })
  assert.equal(answer.headers.get('atproto-content-labelers'), 'did:plc:x')
  assert.deepEqual(new Uint8Array(await answer.arrayBuffer()), new Uint8Array([137, 80]))
})

test('the signal also ends the reading of an answer that was given away', async () => {
  const { server, client } = setUp()
  let given: AbortSignal | null | undefined
  server.on('GET /xrpc/com.atproto.sync.getBlob', ({ init }) => {
    given = init.signal
    return new Response('x')
  })
  const stop = new AbortController()
  await client.xrpc.raw('com.atproto.sync.getBlob', {}, { signal: stop.signal })
  stop.abort()
  assert.equal(given?.aborted, true)
})

test('names that are none are not sent', async () => {
  const { server, client } = setUp()
  for (const nsid of ['', 'a.b', '../../api/accounts', 'app.bsky.feed/../x', 'app.bsky.feed?x', 'a b.c.d']) {
    await assert.rejects(async () => client.xrpc.query(nsid), MistakeError, nsid)
  }
  assert.equal(server.seen.length, 0)
})

test('a fetch for other libraries', async () => {
  const { server, client } = setUp()
  const alice = client.forAccount('did:plc:alice')
  assert.equal(alice.did, 'did:plc:alice')
  assert.equal(client.forAccount('0b9f').did, undefined)
  server.on('GET /xrpc/app.bsky.feed.getTimeline', json({ error: 'InvalidRequest' }, 400))
  const refused = await alice.fetchHandler('/xrpc/app.bsky.feed.getTimeline?limit=5', {
    method: 'get',
    headers: new Headers({ 'atproto-proxy': 'did:web:x#y' }),
  })
  assert.deepEqual([refused.status, await refused.json()], [400, { error: 'InvalidRequest' }])
  assert.equal(server.seen[0]?.path, '/xrpc/app.bsky.feed.getTimeline?limit=5')
  assert.deepEqual(
    [server.seen[0]?.headers.get('bowerbird-account'), server.seen[0]?.headers.get('atproto-proxy')],
    ['did:plc:alice', 'did:web:x#y'],
  )
  server.on('POST /xrpc/com.atproto.repo.createRecord', refusal(401, 'needs_reauth', { reason: 'revoked', repairUrl: 'u' }))
  const init = { method: 'POST', body: '{}', headers: { 'content-type': 'application/json' } }
  await rejection(alice.fetchHandler('/xrpc/com.atproto.repo.createRecord', init), SignInRequiredError)
  assert.equal(server.seen[1]?.headers.get('bowerbird-csrf'), '1')
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MemoryStore, OfflineError, ServerError, SignInRequiredError, StoreError } from 'bowerbird-client'
import { json, NAME, quiet, refusal, rejection, type Reply, setUpApp, signedOut, START, storeWith, tokens, unreachable } from './support.js'

const QUERY = 'GET /xrpc/app.bsky.feed.getTimeline'
const EXCHANGE = 'POST /api/auth/tokens'
const HOUR = 3_600_000
const timeline = (client: { xrpc: { query(nsid: string): Promise<unknown> } }) => client.xrpc.query('app.bsky.feed.getTimeline')
/** Takes one seal alone. */
const takes = (seal: string): Reply => (seen) => (seen.headers.get('authorization') === `Bearer ${seal}` ? json({ ok: true })(seen) : signedOut(seen))

test('a device without a session asks nobody', async () => {
  const { server, client, told } = await setUpApp(new MemoryStore())
  assert.equal(await client.session(), null)
  assert.equal(await client.validate(), false)
  const error = await rejection(timeline(client), SignInRequiredError)
  assert.deepEqual([error.code, server.seen.length], ['signed_out', 0])
  assert.deepEqual(told, [{ reason: 'signed_out', repairUrl: undefined }])
})

test('a session is shown as bearer, never with a cookie', async () => {
  const { server, client } = await setUpApp()
  server.on(QUERY, takes('seal-1'))
  assert.deepEqual(await timeline(client), { ok: true })
  assert.equal(server.seen[0]?.init.credentials, 'omit')
})

test('twenty calls with a seal that has ended make one renewal, which is saved before anybody uses it', async () => {
  const { server, clock, client, store } = await setUpApp()
  clock.time = START + HOUR
  const events: string[] = []
  server.on(QUERY, (seen) => {
    events.push('call')
    return takes('seal-2')(seen)
  })
  server.on(EXCHANGE, (seen) => {
    events.push('renewal')
    return json(tokens(2))(seen)
  })
  const save = store.save.bind(store)
  store.save = async (name, secret) => {
    await quiet()
    events.push('saved')
    return save(name, secret)
  }
  await Promise.all(Array.from({ length: 20 }, () => timeline(client)))
  assert.deepEqual(events.slice(0, 3), ['renewal', 'saved', 'call'])
  assert.equal(server.calls(EXCHANGE).length, 1)
  assert.equal(server.seen[0]?.body, JSON.stringify({ refreshToken: 'refresh-1' }))
  assert.match((await store.load(NAME)) ?? '', /refresh-2/)
})

test('a seal that ends soon is still shown, and renewed meanwhile', async () => {
  const { server, clock, client } = await setUpApp()
  server.on(QUERY, json({})).on(EXCHANGE, json(tokens(2)))
  clock.time = START + HOUR - 5 * 60_000 - 1
  await timeline(client)
  assert.equal(server.calls(EXCHANGE).length, 0)
  clock.time += 1
  await timeline(client)
  await quiet()
  assert.equal(server.calls(EXCHANGE).length, 1)
  await timeline(client)
  assert.deepEqual(server.calls(QUERY).map(({ headers }) => headers.get('authorization')), ['Bearer seal-1', 'Bearer seal-1', 'Bearer seal-2'])
})

test('a server that cannot renew early stops nobody', async () => {
  const { server, clock, client } = await setUpApp()
  server.on(QUERY, takes('seal-1')).on(EXCHANGE, unreachable)
  clock.time = START + HOUR - 60_000
  assert.deepEqual(await timeline(client), { ok: true })
})

test('a seal that the server does not take any more is renewed, and the call repeated once', async () => {
  const { server, client, told } = await setUpApp()
  server.on('POST /xrpc/com.atproto.repo.createRecord', takes('seal-2')).on(EXCHANGE, json(tokens(2)))
  assert.deepEqual(await client.xrpc.procedure('com.atproto.repo.createRecord', { a: 1 }), { ok: true })
  const calls = server.calls('POST /xrpc/com.atproto.repo.createRecord')
  assert.deepEqual(calls.map(({ body }) => body), ['{"a":1}', '{"a":1}'])

  server.on('POST /xrpc/com.atproto.repo.createRecord', signedOut).on(EXCHANGE, json(tokens(3)))
  await rejection(client.xrpc.procedure('com.atproto.repo.createRecord', {}), SignInRequiredError)
  assert.equal(server.calls(EXCHANGE).length, 2, 'no loop')
  assert.deepEqual(told, [])
})

test('a call that hears late that its seal has ended takes the one that others have renewed', async () => {
  const { server, client } = await setUpApp()
  let answer = () => {}
  const held = new Promise<void>((resolve) => (answer = resolve))
  const late: Reply = async (seen) => {
    await held
    return signedOut(seen)
  }
  server.on(QUERY, late, takes('seal-2')).on(EXCHANGE, json(tokens(2)))
  const slow = timeline(client)
  await quiet()
  assert.deepEqual(await timeline(client), { ok: true })
  answer()
  assert.deepEqual(await slow, { ok: true })
  assert.equal(server.calls(EXCHANGE).length, 1)
})

test('401 to a renewal forgets the session and asks for a sign-in, once for all who wait', async () => {
  for (const code of ['session_invalid', 'refresh_token_reused']) {
    const { server, clock, client, store, told } = await setUpApp()
    clock.time = START + HOUR
    server.on(EXCHANGE, refusal(401, code, { reason: code }))
    const calls = Array.from({ length: 5 }, () => rejection(timeline(client), SignInRequiredError))
    for (const error of await Promise.all(calls)) assert.deepEqual([error.reason, error.sessionEnded], [code, true])
    assert.deepEqual(told, [{ reason: code, repairUrl: undefined }])
    assert.equal(await store.load(NAME), null)
    assert.equal(server.calls(EXCHANGE).length, 1)
    assert.equal(await client.session(), null)
  }
})

test('a renewal that fails otherwise loses nothing', async () => {
  const { server, clock, client, store, told } = await setUpApp()
  clock.time = START + HOUR
  server.on(QUERY, takes('seal-2'))
  server.on(EXCHANGE, refusal(500, 'store_unavailable'))
  await rejection(clock.run(timeline(client)), ServerError)
  assert.deepEqual(clock.waited, [2000, 4000])
  server.on(EXCHANGE, unreachable)
  await rejection(clock.run(timeline(client)), OfflineError)
  assert.deepEqual(clock.waited, [2000, 4000, 2000, 4000, 8000])
  assert.deepEqual(told, [])
  assert.match((await store.load(NAME)) ?? '', /refresh-1/)
  server.on(EXCHANGE, json(tokens(2)))
  assert.deepEqual(await timeline(client), { ok: true })
})

test('what cannot be saved is not used; the old refresh token is shown again', async () => {
  const { server, clock, client, store } = await setUpApp()
  clock.time = START + HOUR
  server.on(QUERY, takes('seal-3')).on(EXCHANGE, json(tokens(2)), json(tokens(3)))
  const save = store.save.bind(store)
  store.save = async () => {
    throw new Error('locked')
  }
  const error = await rejection(timeline(client), StoreError)
  assert.match(error.message, /could not save the session\. Unlock the device/)
  assert.equal(server.calls(QUERY).length, 0)
  store.save = save
  assert.deepEqual(await timeline(client), { ok: true })
  assert.deepEqual(server.calls(EXCHANGE).map(({ body }) => body), Array(2).fill('{"refreshToken":"refresh-1"}'))
})

test('what another instance of the app renewed is taken over', async () => {
  const { server, clock, client, store } = await setUpApp()
  server.on(QUERY, json({ ok: true }))
  await timeline(client)
  clock.time = START + HOUR
  const { accessToken, refreshToken } = tokens(7)
  await store.save(NAME, JSON.stringify({ accessToken, refreshToken, issuedAt: clock.time, expiresAt: clock.time + HOUR }))
  await timeline(client)
  assert.equal(server.calls(QUERY)[1]?.headers.get('authorization'), 'Bearer seal-7')
  assert.equal(server.calls(EXCHANGE).length, 0)
})

test('a renewal under way undoes neither a sign-out nor a sign-in', async () => {
  for (const ending of ['sign-out', 'sign-in']) {
    const { server, clock, client, store, told } = await setUpApp()
    clock.time = START + HOUR - 60_000
    let answer = () => {}
    const held = new Promise<void>((resolve) => (answer = resolve))
    server.on(QUERY, json({})).on('POST /api/auth/logout', json({ success: true }))
    server.on('POST /api/auth/start', json({ authUrl: 'https://as.example/' }))
    server.on(EXCHANGE, async (seen) => {
      if (String(seen.body).includes('code')) return json(tokens(5))(seen)
      await held
      return json(tokens(2))(seen)
    })
    await timeline(client)
    await quiet()
    assert.equal(server.calls(EXCHANGE).length, 1, 'the renewal is under way')
    if (ending === 'sign-out') {
      await client.signOut()
    } else {
      await client.startSignIn({ handle: 'bob.test' })
      await client.finishSignIn('app://auth-callback?code=x')
    }
    answer()
    await quiet()
    const kept = await store.load(NAME)
    if (ending === 'sign-out') assert.equal(kept, null)
    else assert.match(kept ?? '', /refresh-5/)
    assert.deepEqual(told, [])
  }
})

test('one who waits may leave; the renewal goes on for the others', async () => {
  const { server, clock, client } = await setUpApp()
  clock.time = START + HOUR
  let answer = () => {}
  const held = new Promise<void>((resolve) => (answer = resolve))
  server.on(QUERY, takes('seal-2')).on(EXCHANGE, async (seen) => {
    await held
    return json(tokens(2))(seen)
  })
  const leaving = new AbortController()
  const left = client.xrpc.query('app.bsky.feed.getTimeline', {}, { signal: leaving.signal })
  const stayed = timeline(client)
  await quiet()
  leaving.abort()
  await assert.rejects(left, { name: 'AbortError' })
  answer()
  assert.deepEqual(await stayed, { ok: true })
  assert.equal(server.calls(EXCHANGE).length, 1)
})

test('signing out ends the session on the server, then here; offline only if it is forced', async () => {
  const { server, clock, client, store } = await setUpApp()
  server.on('POST /api/auth/logout', unreachable)
  await rejection(clock.run(client.signOut()), OfflineError)
  assert.notEqual(await store.load(NAME), null)
  await client.signOut({ force: true })
  assert.equal(await store.load(NAME), null)

  const online = await setUpApp()
  online.server.on('POST /api/auth/logout', json({ success: true }))
  await online.client.signOut()
  assert.equal(online.server.seen[0]?.headers.get('authorization'), 'Bearer seal-1')
  assert.equal(await online.store.load(NAME), null)
  await online.client.signOut()
  assert.equal(online.server.seen.length, 1, 'nobody is signed in, and nobody is asked')
})

test('what is in the store and none of ours is no session, and never quoted', async () => {
  const canary = 'canary\nx'
  const kept = { accessToken: canary, refreshToken: canary, issuedAt: START, expiresAt: START + HOUR }
  for (const text of ['', 'null', '[]', '{', '7', JSON.stringify(kept), JSON.stringify({ ...kept, accessToken: 7 })]) {
    const store = new MemoryStore()
    await store.save(NAME, text)
    const { client } = await setUpApp(store)
    const error = await rejection(timeline(client), SignInRequiredError)
    assert.ok(!error.message.includes('canary'))
  }
})

test('an app password gives the session another seal', async () => {
  const { server, client, store } = await setUpApp()
  server.on('POST /api/accounts/app-password', json({ id: 'i', did: 'did:plc:bob', handle: 'bob.test', seal: 'seal-9' }))
  const account = await client.accounts.signInWithAppPassword({ identifier: 'bob.test', password: 'p' })
  assert.deepEqual(account, { id: 'i', did: 'did:plc:bob', handle: 'bob.test' })
  server.on(QUERY, takes('seal-9'))
  assert.deepEqual(await timeline(client), { ok: true })
  assert.match((await store.load(NAME)) ?? '', /seal-9.*refresh-1/)
})

test('a locked keychain is no sign-out', async () => {
  const store = await storeWith(1)
  const load = store.load.bind(store)
  store.load = async () => {
    throw new Error('locked')
  }
  const { server, client, told } = await setUpApp(store)
  await rejection(client.session(), StoreError)
  store.load = load
  server.on(QUERY, takes('seal-1'))
  assert.deepEqual(await timeline(client), { ok: true })
  assert.deepEqual(told, [])
})

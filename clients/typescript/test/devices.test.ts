import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MistakeError, RefusedError, SignInRequiredError } from 'bowerbird-client'
import { json, NAME, refusal, rejection, setUp, setUpApp, signedOut } from './support.js'

test('devices are listed, for all accounts or for one', async () => {
  const { server, client } = setUp()
  const list = { devices: [{ id: 'a', name: 'Firefox on Linux', current: true, accounts: [] }], total: 1 }
  server.on('GET /api/devices', json(list))
  assert.deepEqual(await client.devices.list(), list)
  await client.devices.list({ account: 'did:plc:bob' })
  assert.deepEqual(server.seen.map(({ headers }) => headers.get('bowerbird-account')), [null, 'did:plc:bob'])
})

test('one device is signed out, and only by its name', async () => {
  const { server, client } = setUp()
  server.on('DELETE /api/devices/a%2Fb', json({ success: true }), refusal(404, 'device_not_found'))
  await client.devices.signOut('a/b')
  assert.equal(server.seen[0]?.headers.get('bowerbird-csrf'), '1')
  assert.equal((await rejection(client.devices.signOut('a/b'), RefusedError)).code, 'device_not_found')
  await rejection(client.devices.signOut(''), MistakeError)
})

test('signing all others out leaves this one; signing all out forgets the session here', async () => {
  const { server, client, store } = await setUpApp()
  server.on('POST /api/devices/sign-out', json({ success: true, ended: 3 }))
  assert.equal(await client.devices.signOutOthers(), 3)
  assert.notEqual(await store.load(NAME), null)
  assert.equal(await client.devices.signOutAll(), 3)
  assert.equal(await store.load(NAME), null)
  assert.deepEqual(server.seen.map(({ body }) => body), ['{"which":"others"}', '{"which":"all"}'])
  await rejection(client.devices.list(), SignInRequiredError)
  assert.equal(server.seen.length, 2)
})

test('a failure to sign all out forgets nothing', async () => {
  const { server, client, store } = await setUpApp()
  server.on('POST /api/devices/sign-out', refusal(403, 'cross_site_request'))
  await rejection(client.devices.signOutAll(), RefusedError)
  assert.notEqual(await store.load(NAME), null)
})

test('the history comes in pieces', async () => {
  const { server, client, told } = setUp()
  server.on('GET /api/security-events', json({ events: [], next: '1.x' }), signedOut)
  assert.equal((await client.securityEvents()).next, '1.x')
  await rejection(client.securityEvents({ before: '1.x&y', account: 'did:plc:bob' }), SignInRequiredError)
  assert.deepEqual(server.seen.map(({ path }) => path), ['/api/security-events', '/api/security-events?before=1.x%26y'])
  assert.equal(server.seen[1]?.headers.get('bowerbird-account'), 'did:plc:bob')
  assert.equal(told.length, 1)
})

test('an account is found by its handle too', async () => {
  const { server, client } = setUp()
  server.on('GET /api/accounts/bob.test', json({ id: 'i', did: 'did:plc:bob' }))
  assert.equal((await client.accounts.find('bob.test')).did, 'did:plc:bob')
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type BowerbirdEvent, MistakeError, SignInRequiredError } from 'bowerbird-client'
import { EventReader } from '../dist/sse.js'
import { quiet, rejection, type Reply, setUp, signedOut, unreachable } from './support.js'

const EVENTS = 'GET /api/events'
const TEXT = 'retry: 3000\n: following\n\nevent: refreshed\nid: 1\ndata: {"id":"1","accountId":"a","message":"é"}\n\nevent: missed\ndata: {}\n\n'

/** A stream of these pieces; it stays open unless it is told to end. */
const stream =
  (pieces: string[], ends = true): Reply =>
  ({ init }) => {
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        for (const piece of pieces) controller.enqueue(new TextEncoder().encode(piece))
        if (ends) controller.close()
        init.signal?.addEventListener('abort', () => controller.error(new DOMException('stopped', 'AbortError')))
      },
    })
    return new Response(body, { headers: { 'content-type': 'text/event-stream' } })
  }

test('events are read however they are cut, in all three ways to end a line', () => {
  for (const text of [TEXT, TEXT.replaceAll('\n', '\r\n'), TEXT.replaceAll('\n', '\r')]) {
    const bytes = new TextEncoder().encode(text)
    for (let size = 1; size <= bytes.length; size++) {
      const reader = new EventReader()
      const events = []
      for (let at = 0; at < bytes.length; at += size) events.push(...reader.push(bytes.subarray(at, at + size)))
      // A lone carriage return at the end may be half of a line's end: the last event waits for what follows.
      events.push(...reader.push(new TextEncoder().encode(': more')))
      assert.deepEqual(
        events.map(({ type, data }) => [type, data]),
        [['refreshed', '{"id":"1","accountId":"a","message":"é"}'], ['missed', '{}']],
        `${JSON.stringify(text.slice(10, 14))} by ${size}`,
      )
      assert.equal(reader.retry, 3000)
    }
  }
})

test('a client follows, comes back when the connection ends, and says that it was away', async () => {
  const { server, clock, client } = setUp()
  server.on(EVENTS, stream([TEXT.slice(0, 60), TEXT.slice(60)]), unreachable, stream([TEXT], false))
  const stop = new AbortController()
  const seen: BowerbirdEvent[] = []
  const following = (async () => {
    for await (const event of client.events(stop.signal)) seen.push(event)
  })()
  await quiet()
  assert.deepEqual(seen, [{ type: 'refreshed', id: '1', accountId: 'a', message: 'é' }, { type: 'missed' }])
  clock.tick()
  await quiet()
  clock.tick()
  await quiet()
  assert.deepEqual(clock.waited, [3000, 6000])
  assert.deepEqual(seen.slice(2).map(({ type }) => type), ['missed', 'refreshed', 'missed'])
  stop.abort()
  await following
  assert.equal(clock.timers, 0)
})

test('a session that is over ends it, and asks for a sign-in', async () => {
  const { server, clock, client, told } = setUp()
  server.on(EVENTS, stream([TEXT]), signedOut)
  const following = (async () => {
    for await (const event of client.events()) assert.ok(event.type)
  })()
  await rejection(clock.run(following), SignInRequiredError)
  assert.deepEqual(told, [{ reason: 'session_invalid', repairUrl: undefined }])
})

test('who has had enough closes the connection', async () => {
  const { server, client } = setUp()
  let signal: AbortSignal | null | undefined
  server.on(EVENTS, (seen) => {
    signal = seen.init.signal
    return stream([TEXT], false)(seen)
  })
  for await (const event of client.events()) {
    assert.equal(event.type, 'refreshed')
    break
  }
  assert.equal(signal?.aborted, true)
})

test('an abort while the connection is made ends it quietly', async () => {
  const { server, client } = setUp()
  server.on(EVENTS, stream([], false))
  const stop = new AbortController()
  setTimeout(() => stop.abort(), 5)
  for await (const event of client.events(stop.signal)) assert.fail(event.type)
  for await (const event of client.events(AbortSignal.abort())) assert.fail(event.type)
})

test('a platform without streams is told what to do', async () => {
  const { server, client } = setUp()
  server.on(EVENTS, () => new Response(null))
  const error = await rejection(client.events().next(), MistakeError)
  assert.match(error.message, /expo\/fetch/)
})

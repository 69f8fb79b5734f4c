import type { Caller } from './caller.js'
import { type Clock, sleep } from './clock.js'
import { MistakeError, OfflineError, ServerError } from './errors.js'
import { routes } from './schema.js'
import { EventReader } from './sse.js'

/** How long to wait before following again, unless the server says otherwise. In milliseconds. */
const PAUSE = 3000
/** The longest wait while the server cannot be reached. */
const LONGEST_PAUSE = 60_000

/** Something happened to the access of an account of this device. */
export interface AccessEvent {
  /** What: `refreshed`, `recovered`, `needs_reauth`, `lost_response`, `outcome_unknown`; later servers may know more. */
  readonly type: 'refreshed' | 'recovered' | 'needs_reauth' | 'lost_response' | 'outcome_unknown' | (string & {})
  /** Names the event. */
  readonly id: string
  /** When, as RFC 3339. */
  readonly occurredAt: string
  /** Whose access. */
  readonly accountId: string
  /** Which of its connections. */
  readonly connectionId: string
  /** One sentence for a person. */
  readonly message: string
  /** Why: a code. */
  readonly reason?: string
  /** Where the person repairs exactly this account, when only they can. */
  readonly repairUrl?: string
}

/** Events may have been missed, such as while the connection was away: ask `tokenHealth` or `accounts.list` how things stand. */
export interface MissedEvent {
  /** The kind of event. */
  readonly type: 'missed'
}

/** What a stream of events gives. */
export type BowerbirdEvent = AccessEvent | MissedEvent

/**
 * Follows the events of this device's accounts, and comes back when the connection ends. It ends with the signal, and
 * throws when the session is over.
 */
export async function* follow(caller: Caller, clock: Clock, signal?: AbortSignal): AsyncGenerator<BowerbirdEvent> {
  let pause = PAUSE
  let failures = 0
  for (let connections = 0; !signal?.aborted; ) {
    const connection = new AbortController()
    const stop = () => connection.abort()
    signal?.addEventListener('abort', stop, { once: true })
    try {
      const stream = await open(caller, connection.signal)
      failures = 0
      if (connections++ > 0) yield { type: 'missed' }
      const events = new EventReader()
      const reader = stream.getReader()
      for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
        for (const { type, data } of events.push(piece.value)) yield eventOf(type, data)
        pause = events.retry ?? pause
      }
    } catch (error) {
      if (signal?.aborted) return
      // A body that breaks off is an error of the platform's own.
      const mayPass = error instanceof OfflineError || error instanceof ServerError || error instanceof TypeError
      if (!mayPass) throw error
      failures += 1
    } finally {
      signal?.removeEventListener('abort', stop)
      // Also when the caller has had enough.
      connection.abort()
    }
    try {
      await sleep(clock, Math.min(LONGEST_PAUSE, pause * 2 ** Math.min(failures, 6)), signal)
    } catch {
      return
    }
  }
}

async function open(caller: Caller, signal: AbortSignal): Promise<ReadableStream<Uint8Array>> {
  const headers = { accept: 'text/event-stream' }
  const { body } = await caller.response({ ...routes.followEvents, headers, signal, retry: false })
  if (body) return body
  throw new MistakeError(
    'no_streams',
    "This platform's fetch gives no streams",
    'In Expo give the client `fetch` of expo/fetch; elsewhere ask tokenHealth now and then',
  )
}

function eventOf(type: string, data: string): BowerbirdEvent {
  if (type === 'missed') return { type: 'missed' }
  try {
    return { ...(JSON.parse(data) as AccessEvent), type }
  } catch {
    return { type: 'missed' }
  }
}

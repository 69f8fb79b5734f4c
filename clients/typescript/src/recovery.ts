import { type Clock, sleep, throwIfAborted } from './clock.js'
import { OfflineError, ServerError } from './errors.js'

/** Before the second, third and fourth try, where the server could not be reached. In milliseconds. */
export const NETWORK_PAUSES: readonly number[] = [2000, 4000, 8000]
/** Before the second and third try, where the server failed. In milliseconds. */
export const SERVER_PAUSES: readonly number[] = [2000, 4000]
/** The longest pause that a server may ask for; beyond it the caller is told at once. */
const LONGEST_PAUSE = 30_000

/** How long to wait after so many failures in a row; undefined when it is enough. */
export function pauseAfter(error: unknown, failures: number): number | undefined {
  if (error instanceof OfflineError) return NETWORK_PAUSES[failures - 1]
  if (!(error instanceof ServerError)) return undefined
  const pause = SERVER_PAUSES[failures - 1]
  if (pause === undefined) return undefined
  const wanted = Math.max(pause, (error.retryAfter ?? 0) * 1000)
  return wanted <= LONGEST_PAUSE ? wanted : undefined
}

/** Tries until it is over or enough. */
export async function persevere<T>(
  clock: Clock,
  signal: AbortSignal | undefined,
  attempt: () => Promise<T>,
): Promise<T> {
  for (let failures = 0; ; ) {
    throwIfAborted(signal)
    try {
      return await attempt()
    } catch (error) {
      failures += 1
      const pause = pauseAfter(error, failures)
      if (pause === undefined) throw error
      await sleep(clock, pause, signal)
    }
  }
}

/** Time, as an argument: tests have another one than the system's. */
export interface Clock {
  /** Milliseconds since 1970. */
  now(): number
  /** Runs something after so many milliseconds, unless the function that comes back is called before. */
  after(millis: number, run: () => void): () => void
}

/** The time of this machine. */
export const systemClock: Clock = {
  now: () => Date.now(),
  after(millis, run) {
    const timer = setTimeout(run, millis)
    return () => clearTimeout(timer)
  },
}

/** Waits; rejects with the signal's reason when that comes first. */
export function sleep(clock: Clock, millis: number, signal?: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(reasonOf(signal))
    const stop = () => {
      cancel()
      reject(reasonOf(signal))
    }
    const cancel = clock.after(millis, () => {
      signal?.removeEventListener('abort', stop)
      resolve()
    })
    signal?.addEventListener('abort', stop, { once: true })
  })
}

/**
 * Waits for something that others wait for as well: an abort ends the waiting, not the work.
 */
export function waitFor<T>(work: Promise<T>, signal?: AbortSignal | undefined): Promise<T> {
  if (!signal) return work
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(reasonOf(signal))
    const stop = () => reject(reasonOf(signal))
    signal.addEventListener('abort', stop, { once: true })
    const done = () => signal.removeEventListener('abort', stop)
    work.then(
      (value) => {
        done()
        resolve(value)
      },
      (error: unknown) => {
        done()
        reject(error)
      },
    )
  })
}

/** What an aborted call rejects with: the signal's own reason, where the platform keeps one. */
export function reasonOf(signal: AbortSignal | undefined): unknown {
  const reason: unknown = signal?.reason
  if (reason !== undefined) return reason
  // React Native's signals have no reason, and it has no DOMException.
  const error = new Error('The call was aborted')
  error.name = 'AbortError'
  return error
}

/** Throws the signal's reason when it is aborted. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw reasonOf(signal)
}

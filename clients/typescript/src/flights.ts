import { waitFor } from './clock.js'

/**
 * One exchange for each code: systems deliver an address twice now and then, to a listener and as the one that the app
 * was opened with. The last success is remembered; by then its code is worth nothing.
 */
export function callbackFlights<T>(): (key: string, work: () => Promise<T>, signal?: AbortSignal) => Promise<T> {
  let last: { key: string; outcome: Promise<T> } | undefined
  return (key, work, signal) => {
    if (last?.key !== key) {
      const flight = { key, outcome: work() }
      last = flight
      // What failed may be tried again.
      flight.outcome.catch(() => {
        if (last === flight) last = undefined
      })
    }
    return waitFor(last.outcome, signal)
  }
}

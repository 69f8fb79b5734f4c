import { type Clock, reasonOf, throwIfAborted } from './clock.js'
import { MistakeError, OfflineError } from './errors.js'

/** The function that sends requests: the platform's own, or one like it. */
export type Fetch = (input: string, init: RequestInit) => Promise<Response>

/** A request to the server. */
export interface Call {
  /** The HTTP method. */
  readonly method: string
  /** Begins with a slash; has its query. */
  readonly path: string
  /** Further headers. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** What is sent. */
  readonly body?: BodyInit | undefined
  /** Ends it. */
  readonly signal?: AbortSignal | undefined
  /** How long the head of the answer may take, in milliseconds; 0 for as long as it likes. */
  readonly timeout?: number | undefined
  /** Whether the signal also ends the reading of a body that is given away unread. */
  readonly lasting?: boolean | undefined
}

/** Whether a method changes nothing, and may be repeated. */
export function isSafe(method: string): boolean {
  return method === 'GET' || method === 'HEAD'
}

/** Sends requests to one server, each once. */
export class Transport {
  readonly #baseUrl: string
  readonly #fetch: Fetch
  readonly #credentials: RequestCredentials
  readonly #clock: Clock

  constructor(baseUrl: string, fetch: Fetch, credentials: RequestCredentials, clock: Clock) {
    this.#baseUrl = baseUrl
    this.#fetch = fetch
    this.#credentials = credentials
    this.#clock = clock
  }

  /** The whole address of a path of the server. */
  url(path: string): string {
    return this.#baseUrl + path
  }

  /**
   * Sends a request, and reads the answer with the given function, during which it can still be aborted.
   * Every status is an answer.
   */
  async send<T>(call: Call, read: (response: Response) => Promise<T>): Promise<T> {
    throwIfAborted(call.signal)
    const headers = new Headers(call.headers)
    // What no form and no foreign page can make a browser send.
    if (!isSafe(call.method)) headers.set('bowerbird-csrf', '1')
    const stop = new AbortController()
    const aborted = () => stop.abort(reasonOf(call.signal))
    call.signal?.addEventListener('abort', aborted, { once: true })
    let late = false
    let isGivenAway = false
    const cancel = call.timeout
      ? this.#clock.after(call.timeout, () => {
          late = true
          stop.abort()
        })
      : () => {}
    try {
      const response = await this.#fetch(this.url(call.path), this.#init(call, headers, stop.signal))
      cancel()
      const result = await read(response)
      isGivenAway = call.lasting === true
      return result
    } catch (error) {
      if (call.signal?.aborted) throw reasonOf(call.signal)
      if (late) throw new OfflineError(`${this.#host()} did not answer in time`)
      throw isOfFetch(error) ? new OfflineError(`${this.#host()} could not be reached`, error) : error
    } finally {
      cancel()
      if (!isGivenAway) call.signal?.removeEventListener('abort', aborted)
    }
  }

  #init(call: Call, headers: Headers, signal: AbortSignal): RequestInit {
    const init: RequestInit & { duplex?: 'half' } = {
      method: call.method,
      headers,
      signal,
      // No `cache`: React Native's fetch would write a parameter into the address for it.
      credentials: this.#credentials,
    }
    if (call.body !== undefined) init.body = call.body
    // A stream as body needs this, says the standard.
    if (typeof ReadableStream !== 'undefined' && call.body instanceof ReadableStream) init.duplex = 'half'
    return init
  }

  #host(): string {
    return this.#baseUrl.replace(/^https?:\/\//, '')
  }
}

/** Errors of `fetch`, and of a body that breaks off, are of the platform's own kinds; ours are passed on. */
function isOfFetch(error: unknown): boolean {
  return error instanceof TypeError || (error instanceof Error && error.name === 'AbortError')
}

/** Scheme, host and port of an address. By hand, since the `URL` of older React Native only pretends to be one. */
export function originOf(baseUrl: string, allowInsecure: boolean): string {
  const match = /^(https?:\/\/[^/?#@\s]+)\/?$/.exec(baseUrl)
  if (!match?.[1]) {
    throw new MistakeError(
      'base_url_invalid',
      'baseUrl is not the address of a server',
      'Write it without a path, such as https://bower.example',
    )
  }
  const isLocal = /^http:\/\/(localhost|127\.0\.0\.1|\[::1\]|10\.0\.2\.2)(:\d+)?$/.test(match[1])
  if (match[1].startsWith('http:') && !isLocal && !allowInsecure) {
    throw new MistakeError('base_url_insecure', 'baseUrl is not encrypted', 'Use https, or allowInsecure while developing')
  }
  return match[1]
}

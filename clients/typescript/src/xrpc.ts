import { type Caller, readJsonOrNothing, type RepeatableCall } from './caller.js'
import { MistakeError } from './errors.js'
import { type Params, queryOf } from './query.js'

/** How a method of the account's own server is called. */
export interface XrpcOptions {
  /** Another account of this device than the active one: its id or DID. */
  readonly account?: string | undefined
  /** The service that the account's server passes the call on to, such as `did:web:api.bsky.app#bsky_appview`. */
  readonly proxy?: string | undefined
  /** Labelers whose labels are wanted: DIDs, each with `;redact` behind it if so. */
  readonly labelers?: readonly string[] | undefined
  /** Further headers; the server passes `accept`, `accept-language` and `content-type` on, among others. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** Ends the call, and the reading of its answer. */
  readonly signal?: AbortSignal | undefined
  /** How long the head of the answer may take, in milliseconds; 0 for as long as it likes. */
  readonly timeout?: number | undefined
  /** Whether it is tried again when the network or the server fails. By default queries are and procedures are not. */
  readonly retry?: boolean | undefined
}

/** What a procedure takes besides. */
export interface ProcedureOptions extends XrpcOptions {
  /** Parameters in the address. */
  readonly params?: Params | undefined
  /** The type of a body that is not JSON, such as `image/png`; a `Blob` has its own. */
  readonly encoding?: string | undefined
}

/** A body that is sent as it is. A stream is never repeated, and Chromium sends one over HTTP/2 only. */
export type BinaryBody = Blob | ArrayBuffer | ArrayBufferView<ArrayBuffer> | ReadableStream<Uint8Array>

/** Calls methods of the account's own server, for one account of the device. */
export class Xrpc {
  readonly #caller: Caller
  readonly #account: string | undefined

  /** For the client; apps get one as `client.xrpc` or by `client.forAccount(…)`. */
  constructor(caller: Caller, account?: string) {
    this.#caller = caller
    this.#account = account
  }

  /** The DID that this was made for; undefined for the active account. Named as the agent of `@atproto/api` wants it. */
  get did(): string | undefined {
    return this.#account?.startsWith('did:') ? this.#account : undefined
  }

  /** Calls a query; gives its JSON. */
  query<T = unknown>(nsid: string, params?: Params, options: XrpcOptions = {}): Promise<T> {
    const call = this.#call('GET', nsid, params, options)
    return this.#caller.json<T>(call)
  }

  /** Calls a procedure with a body: binary as it is, anything else as JSON. Gives its JSON; undefined when it has none. */
  procedure<T = unknown>(nsid: string, body?: unknown, options: ProcedureOptions = {}): Promise<T> {
    return this.#caller.call(this.#procedure(nsid, body, options), readJsonOrNothing<T>)
  }

  /**
   * Calls a query and gives the answer as it comes: for pictures, files, and headers such as
   * `atproto-content-labelers`. The body is yours to read.
   */
  raw(nsid: string, params?: Params, options: XrpcOptions = {}): Promise<Response> {
    return this.#caller.response(this.#call('GET', nsid, params, options))
  }

  /** The same for a procedure. */
  rawProcedure(nsid: string, body?: unknown, options: ProcedureOptions = {}): Promise<Response> {
    return this.#caller.response(this.#procedure(nsid, body, options))
  }

  /**
   * A `fetch` for other libraries, of paths such as `/xrpc/app.bsky.feed.getTimeline?limit=5`. Answers of whatever
   * status of the account's own server are given back, not thrown: `new Agent(client.forAccount(did))` of `@atproto/api`
   * works, with its types for every method.
   */
  readonly fetchHandler = async (path: string, init: RequestInit = {}): Promise<Response> => {
    const [nsid = '', query = ''] = path.replace(/^\/xrpc\//, '').split(/\?(.*)/s)
    const headers: Record<string, string> = {}
    new Headers(init.headers).forEach((value, name) => (headers[name] = value))
    const options = { headers, signal: init.signal ?? undefined }
    const call = this.#call((init.method ?? 'GET').toUpperCase(), nsid, undefined, options)
    const whole = { ...call, path: query ? `${call.path}?${query}` : call.path, body: init.body ?? undefined }
    return this.#caller.response({ ...whole, passing: true })
  }

  #procedure(nsid: string, body: unknown, options: ProcedureOptions): RepeatableCall {
    const call = this.#call('POST', nsid, options.params, options)
    const headers: Record<string, string> = { accept: 'application/json', ...call.headers }
    if (body === undefined) return { ...call, headers }
    if (!isBinary(body)) {
      headers['content-type'] ??= options.encoding ?? 'application/json'
      return { ...call, headers, body: JSON.stringify(body) }
    }
    const type = options.encoding ?? (isBlob(body) ? body.type : '')
    headers['content-type'] ??= type || 'application/octet-stream'
    // A large file may take longer than anything else.
    return { ...call, headers, body: body as BodyInit, timeout: options.timeout ?? 0 }
  }

  #call(method: string, nsid: string, params: Params | undefined, options: XrpcOptions): RepeatableCall {
    if (!/^[a-zA-Z][a-zA-Z0-9-]*(\.[a-zA-Z][a-zA-Z0-9-]*){2,}$/.test(nsid)) {
      throw new MistakeError('invalid_method', 'That is not the name of a method', 'Write it such as app.bsky.feed.getTimeline')
    }
    const headers: Record<string, string> = {}
    for (const [name, value] of Object.entries(options.headers ?? {})) headers[name.toLowerCase()] = value
    const account = options.account ?? this.#account
    if (account) headers['bowerbird-account'] = account
    if (options.proxy) headers['atproto-proxy'] = options.proxy
    if (options.labelers) headers['atproto-accept-labelers'] = options.labelers.join(', ')
    const { signal, timeout, retry } = options
    const call = { method, path: `/xrpc/${nsid}${queryOf(params)}`, headers, signal, retry, nsid }
    return timeout === undefined ? call : { ...call, timeout }
  }
}

function isBlob(body: unknown): body is Blob {
  return typeof Blob !== 'undefined' && body instanceof Blob
}

function isBinary(body: unknown): body is BinaryBody {
  const isStream = typeof ReadableStream !== 'undefined' && body instanceof ReadableStream
  return isBlob(body) || isStream || body instanceof ArrayBuffer || ArrayBuffer.isView(body)
}

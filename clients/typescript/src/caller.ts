import type { Clock } from './clock.js'
import type { DeviceSession } from './device-session.js'
import { MistakeError, RefusedError, SignInRequiredError } from './errors.js'
import { ERROR_HEADER, problemOf } from './problem.js'
import { fill, type Params, type PathNames, queryOf } from './query.js'
import { persevere } from './recovery.js'
import { type Operations, routes } from './schema.js'
import { type Call, isSafe, type Transport } from './transport.js'

/** A call, and whether it may be sent again. */
export interface RepeatableCall extends Call {
  /** Whether it is tried again when the network or the server fails; reads are, unless this says no. */
  readonly retry?: boolean | undefined
  /** The method's name, when the account's own server answers it. */
  readonly nsid?: string | undefined
  /** Whether answers of the account's own server are given back whatever their status. */
  readonly passing?: boolean | undefined
}

/** An operation of the OpenAPI document. */
export type OperationName = keyof Operations
type Answer<Name extends OperationName> = Operations[Name]['answer']

/** What an operation is asked with. */
export interface Question<Name extends OperationName> {
  /** What is sent, as JSON. */
  readonly body?: Operations[Name]['body']
  /** What stands in the path. */
  readonly names?: Readonly<Record<PathNames<(typeof routes)[Name]['path']>, string>>
  /** What stands behind the path. */
  readonly params?: Params
  /** Further headers. */
  readonly headers?: Readonly<Record<string, string>>
  /** Ends the call. */
  readonly signal?: AbortSignal | undefined
  /** Whether it may happen twice; reads may. */
  readonly retry?: boolean
}

/** What a caller is made of. */
export interface CallerParts {
  readonly transport: Transport
  readonly clock: Clock
  /** The session of a device that keeps it by itself; undefined in a browser, which has a cookie. */
  readonly device: DeviceSession | undefined
  readonly timeout: number
  readonly onSignInRequired: (error: SignInRequiredError) => void
}

/** Calls with the session: shows it, renews it, repeats what may be repeated. */
export class Caller {
  readonly #parts: CallerParts

  constructor(parts: CallerParts) {
    this.#parts = parts
  }

  /** The session of the device, where it keeps one by itself. */
  get device(): DeviceSession | undefined {
    return this.#parts.device
  }

  /** The whole address of a path of the server. */
  url(path: string): string {
    return this.#parts.transport.url(path)
  }

  /** Sends a call and reads its answer, which is a success. Tells the app when somebody must sign in. */
  async call<T>(call: RepeatableCall, read: (response: Response) => Promise<T>): Promise<T> {
    try {
      return await this.quietly(call, read)
    } catch (error) {
      if (error instanceof SignInRequiredError && !this.#hasTold(error)) this.#parts.onSignInRequired(error)
      throw error
    }
  }

  /** The same, for those who only ask whether somebody is signed in. */
  async quietly<T>(call: RepeatableCall, read: (response: Response) => Promise<T>): Promise<T> {
    const { device } = this.#parts
    if (!device) return this.#persevere(call, read)
    const seal = await device.seal(call.signal)
    if (seal === null) throw signedOut()
    try {
      return await this.#persevere(showing(call, seal), read)
    } catch (error) {
      const isRefusedSeal = error instanceof SignInRequiredError && error.sessionEnded
      if (!isRefusedSeal || isStream(call.body)) throw error
      return this.#persevere(showing(call, await device.sealInPlaceOf(seal, call.signal)), read)
    }
  }

  /** Asks for JSON. */
  json<T>(call: RepeatableCall): Promise<T> {
    return this.call(asJson(call), readJson<T>)
  }

  /** Asks an operation of the server: body and answer are those of its OpenAPI document. */
  ask<Name extends OperationName>(name: Name, question: Question<Name> = {}): Promise<Answer<Name>> {
    return this.json<Answer<Name>>(callOf(name, question))
  }

  /** The same, for those who only ask whether somebody is signed in. */
  askQuietly<Name extends OperationName>(name: Name, question: Question<Name> = {}): Promise<Answer<Name>> {
    return this.quietly(asJson(callOf(name, question)), readJson<Answer<Name>>)
  }

  /** The same without showing any session. */
  askAnonymously<Name extends OperationName>(name: Name, question: Question<Name> = {}): Promise<Answer<Name>> {
    return this.#persevere(asJson(callOf(name, question)), readJson<Answer<Name>>)
  }

  /** The answer itself, its body unread. */
  response(call: RepeatableCall): Promise<Response> {
    return this.call({ ...call, lasting: true }, async (response) => response)
  }

  /** A session of the device that has just ended told so by itself, once for all calls that wait. */
  #hasTold(error: SignInRequiredError): boolean {
    return this.device !== undefined && error.sessionEnded && error.code !== 'signed_out'
  }

  #persevere<T>(call: RepeatableCall, read: (response: Response) => Promise<T>): Promise<T> {
    const repeatable = (call.retry ?? isSafe(call.method)) && !isStream(call.body)
    return repeatable ? persevere(this.#parts.clock, call.signal, () => this.#send(call, read)) : this.#send(call, read)
  }

  #send<T>(call: RepeatableCall, read: (response: Response) => Promise<T>): Promise<T> {
    return this.#parts.transport.send({ ...call, timeout: call.timeout ?? this.#parts.timeout }, async (response) => {
      const isPassed = call.passing && !response.headers.has(ERROR_HEADER)
      if (response.ok || isPassed) return read(response)
      const error = await problemOf(response, call.nsid)
      throw withAdvice(error)
    })
  }
}

function callOf<Name extends OperationName>(name: Name, question: Question<Name>): RepeatableCall {
  const { method, path } = routes[name]
  const { body, names, params, headers, signal, retry } = question
  return {
    method,
    path: fill(path, names as Readonly<Record<string, string>>) + queryOf(params),
    headers,
    body: body === undefined ? undefined : JSON.stringify(body),
    signal,
    retry,
  }
}

function asJson(call: RepeatableCall): RepeatableCall {
  const headers = { accept: 'application/json', ...call.headers }
  if (call.body === undefined) return { ...call, headers }
  return { ...call, headers: { 'content-type': 'application/json', ...headers } }
}

/** Reads an answer as JSON. */
export async function readJson<T>(response: Response): Promise<T> {
  return parseJson(await response.text(), response)
}

/** The same, for methods that may answer nothing. */
export async function readJsonOrNothing<T>(response: Response): Promise<T> {
  const text = await response.text()
  return text === '' ? (undefined as T) : parseJson(text, response)
}

function parseJson<T>(text: string, { status }: Response): T {
  try {
    return JSON.parse(text) as T
  } catch {
    // Without the platform's words, which quote the text.
    const hint = 'Use raw for what is no JSON, or look at what is in front of the server'
    throw new RefusedError('answer_unreadable', 'The answer is not JSON', hint, { status })
  }
}

/** A refusal that pages of other origins run into, and what to do there. */
function withAdvice(error: Error): Error {
  if (error instanceof RefusedError && error.code === 'cross_site_request') {
    return new RefusedError(
      error.code,
      'The server does not take calls from pages of this origin',
      "Serve the app from the server's own origin, or list the app's in BOWERBIRD_CORS_ORIGINS",
      { status: error.status, requestId: error.requestId },
    )
  }
  return error
}

function showing(call: RepeatableCall, seal: string): RepeatableCall {
  return { ...call, headers: { ...call.headers, authorization: `Bearer ${seal}` } }
}

/** A body that can be read once only. */
function isStream(body: BodyInit | undefined): boolean {
  return typeof ReadableStream !== 'undefined' && body instanceof ReadableStream
}

function signedOut(): SignInRequiredError {
  return new SignInRequiredError('signed_out', 'Nobody is signed in on this device', 'signed_out')
}

/** What needs a session that is kept on the device. */
export function needsStore(what: string): MistakeError {
  return new MistakeError('store_missing', `${what} is for apps that keep their session`, 'Give the client a `store`')
}

/** One event as it came. */
export interface RawEvent {
  readonly type: string
  readonly data: string
}

/** Reads `text/event-stream`, however the pieces are cut. */
export class EventReader {
  readonly #decoder = new TextDecoder()
  #rest = ''
  #type = ''
  #data: string[] = []
  /** How long to wait before coming back, in milliseconds, if the server said so. */
  retry: number | undefined

  /** Takes a piece; gives the events that it completes. */
  push(piece: Uint8Array): RawEvent[] {
    const lines = (this.#rest + this.#decoder.decode(piece, { stream: true })).split(/\r\n|\n|\r(?!$)/)
    this.#rest = lines.pop() ?? ''
    const events: RawEvent[] = []
    for (const line of lines) {
      const event = this.#line(line)
      if (event) events.push(event)
    }
    return events
  }

  #line(line: string): RawEvent | undefined {
    if (line === '') {
      const event = { type: this.#type || 'message', data: this.#data.join('\n') }
      const isWhole = this.#data.length > 0
      this.#type = ''
      this.#data = []
      return isWhole ? event : undefined
    }
    const [, field, value = ''] = /^([^:]*):? ?(.*)$/s.exec(line) ?? []
    if (field === 'event') this.#type = value
    if (field === 'data') this.#data.push(value)
    if (field === 'retry' && /^\d+$/.test(value)) this.retry = Number(value)
    return undefined
  }
}

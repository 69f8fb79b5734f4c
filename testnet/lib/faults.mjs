// A request log, scripted faults and other manners in front of the PDS' own handlers.

const KEPT = 5000

/** Takes the place of the server's request listeners and returns the log and the faults that are still to come. */
export function listenWithFaults(server) {
  const traffic = { log: [], faults: [] }
  const handlers = server.listeners('request')
  server.removeAllListeners('request')
  server.on('request', (request, response) => {
    const handle = () => handlers.forEach((handler) => handler.call(server, request, response))
    const entry = record(traffic, request, response)
    const path = request.url.split('?')[0]
    const fault = traffic.faults.find(
      (one) => one.times > 0 && one.path === path && (!one.method || one.method === request.method),
    )
    if (!fault) return handle()
    fault.times--
    entry.fault = fault.mode
    commit(fault, request, response, handle)
  })
  return traffic
}

/**
 * Leaves a window its hold of the page that opened it. The published pages cut it off (`Cross-Origin-Opener-Policy: same-origin`),
 * which other servers of the protocol need not do.
 */
export function keepOpeners(server) {
  server.prependListener('request', (_request, response) => {
    const { setHeader } = response
    response.setHeader = function (name, value) {
      return name.toLowerCase() === 'cross-origin-opener-policy' ? this : setHeader.call(this, name, value)
    }
  })
}

function record(traffic, request, response) {
  const begun = performance.now()
  const entry = { method: request.method, url: request.url.slice(0, 200), at: Date.now() }
  response.on('close', () => {
    entry.status = response.statusCode
    entry.ms = +(performance.now() - begun).toFixed(1)
    traffic.log.push(entry)
    if (traffic.log.length > KEPT) traffic.log.shift()
  })
  return entry
}

function commit(fault, request, response, handle) {
  switch (fault.mode) {
    case 'status':
      request.resume()
      response.writeHead(fault.status ?? 503, { 'content-type': 'application/json' })
      return response.end(JSON.stringify({ error: fault.error ?? 'InternalServerError', message: 'injected' }))
    case 'reset': // nothing was processed
      return request.socket.destroy()
    case 'lost': // all was processed, and the answer never leaves
      response.end = response.write = () => { request.socket.destroy(); return response }
      return handle()
    case 'delay':
      return setTimeout(handle, fault.delayMs ?? 1000)
    default:
      return handle()
  }
}

import { MistakeError } from './errors.js'

/** A value of a parameter. */
export type ParamValue = string | number | boolean
/** Parameters of a query: an array is sent as the same parameter several times; undefined and null are left out. */
export type Params = Readonly<Record<string, ParamValue | readonly ParamValue[] | undefined | null>>

/** Writes parameters with a question mark before them; nothing when there are none. */
export function queryOf(params: Params | undefined): string {
  const pairs: string[] = []
  for (const [name, value] of Object.entries(params ?? {})) {
    if (value === undefined || value === null) continue
    const values: readonly ParamValue[] = Array.isArray(value) ? value : [value as ParamValue]
    for (const one of values) pairs.push(`${encodeURIComponent(name)}=${encodeURIComponent(String(one))}`)
  }
  return pairs.length === 0 ? '' : `?${pairs.join('&')}`
}

/** Reads a query, in the order in which it came. By hand, since older React Native cannot. */
export function parseQuery(query: string): Array<[string, string]> {
  return query
    .split('&')
    .filter((pair) => pair !== '')
    .map((pair) => {
      const at = pair.indexOf('=')
      return at < 0 ? [decode(pair), ''] : [decode(pair.slice(0, at)), decode(pair.slice(at + 1))]
    })
}

function decode(text: string): string {
  const spaced = text.replace(/\+/g, ' ')
  try {
    return decodeURIComponent(spaced)
  } catch {
    return spaced
  }
}

/** The names that stand in braces in a path. */
export type PathNames<Path extends string> = Path extends `${string}{${infer Name}}${infer Rest}`
  ? Name | PathNames<Rest>
  : never

/** Fills the names of a path in. */
export function fill(path: string, names: Readonly<Record<string, string>> = {}): string {
  return path.replace(/\{(\w+)\}/g, (_, name: string) => {
    const value = names[name]
    if (!value) throw new MistakeError('name_missing', `${path} needs a ${name}`, 'Give an id or a DID')
    return encodeURIComponent(value)
  })
}

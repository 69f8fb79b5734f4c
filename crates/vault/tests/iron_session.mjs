// The other side of iron_interop.rs: what the npm package iron-session makes of our seals, and seals of its own.
//
// Reads {open: [{seal, password}], seal: [{data, password, ttl}]} and writes {opened: [data], sealed: [text]}.
// A password is a string or a map of ids; the package is found from the folder in which this is started.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'

const { sealData, unsealData } = createRequire(join(process.cwd(), 'package.json'))('iron-session')

const asked = JSON.parse(readFileSync(0, 'utf8'))
const opened = []
for (const { seal, password } of asked.open) opened.push(await unsealData(seal, { password }))
const sealed = []
for (const { data, password, ttl } of asked.seal) sealed.push(await sealData(data, { password, ttl }))
process.stdout.write(JSON.stringify({ opened, sealed }))

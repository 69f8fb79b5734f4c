// A SQLite file like the one that @tijs/atproto-oauth-hono keeps, by the driver that such a server uses in Node, and seals
// like its own by iron-session.
//
// Reads {file, table, rows: [{key, value, expiresAt, createdAt}], seals: [{data, password}]} and writes {sealed: [text]}. A
// value that is no text is stored as JSON. The packages are found from the folder in which this is started.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'

const require = createRequire(join(process.cwd(), 'package.json'))
const Database = require('better-sqlite3')
const { sealData } = require('iron-session')

const { file, table, rows, seals } = JSON.parse(readFileSync(0, 'utf8'))
const database = new Database(file)
database.exec(`CREATE TABLE IF NOT EXISTS ${table} (
  key TEXT PRIMARY KEY, value TEXT NOT NULL, expires_at TEXT, created_at TEXT NOT NULL, updated_at TEXT NOT NULL)`)
database.exec(`CREATE INDEX IF NOT EXISTS idx_${table}_expires_at ON ${table}(expires_at)`)
const insert = database.prepare(`INSERT INTO ${table} VALUES (?, ?, ?, ?, ?)`)
for (const { key, value, expiresAt, createdAt } of rows) {
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  const made = String(createdAt ?? Date.now())
  insert.run(key, text, expiresAt === undefined ? null : String(expiresAt), made, made)
}
database.close()
const sealed = []
for (const { data, password } of seals) sealed.push(await sealData(data, { password }))
process.stdout.write(JSON.stringify({ sealed }))

// An application process with node-postgres' pool: the commands and answers of tests/python/pools.py.
//
//     node pools.mjs FOLDER-WITH-NODE_MODULES URL NAME MIN MAX

import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';

const [folder, url, name, min, max] = process.argv.slice(2);
const pg = createRequire(join(resolve(folder), 'package.json'))('pg');
const pool = new pg.Pool({
  connectionString: url,
  application_name: name,
  min: Number(min),
  max: Number(max),
  idleTimeoutMillis: 0,
  connectionTimeoutMillis: 30_000,
});
// A session that the server ends while it is idle.
pool.on('error', () => {});

const out = [];
let [timeouts, changes, last] = [0, [], ''];

function status() {
  return {
    out: pool.totalCount - pool.idleCount,
    open: pool.totalCount,
    waiting: pool.waitingCount,
    timeouts,
  };
}

function record() {
  const { out, open, waiting } = status();
  const seen = [out, open, waiting];
  if (seen.join() !== last) {
    last = seen.join();
    changes.push([Date.now() / 1000, ...seen]);
  }
}
setInterval(record, 5);

async function take(statement) {
  try {
    const client = await pool.connect();
    client.on('error', () => {});
    if (statement) await client.query(statement);
    return client;
  } catch (error) {
    if (!error.message.includes('timeout')) throw error;
    timeouts += 1;
    return null;
  }
}

async function hold(statement) {
  const client = await take(statement);
  if (client) out.push(client);
}

async function busy() {
  const client = await take();
  out.push(client);
  client.query('SELECT pg_sleep(3600)').catch(() => {});
}

async function giveBack(n) {
  for (const client of out.splice(0, n)) {
    await client.query('ROLLBACK');
    client.release();
  }
}

const times = (n, what) => Promise.all(Array.from({ length: n }, what));

const commands = {
  warm: async (n) => (await times(n, () => take('SELECT 1'))).forEach((client) => client.release()),
  hold: (n) => times(n, () => hold('BEGIN; SELECT 1')),
  busy: (n) => times(n, busy),
  auto: (n) => times(n, () => hold('SELECT 1')),
  bare: (n) => times(n, () => hold()),
  wait: async (n) => void times(n, () => hold('BEGIN; SELECT 1')),
  return: giveBack,
  status: async () => {},
  trace: async () => {},
};

for await (const line of createInterface({ input: process.stdin })) {
  const [command, n] = line.split(' ');
  await commands[command](Number(n ?? 0));
  await new Promise((resolve) => setTimeout(resolve, 20));
  const answer = status();
  if (command === 'trace') [answer.trace, changes] = [changes, []];
  console.log(JSON.stringify(answer));
}
process.exit(0);

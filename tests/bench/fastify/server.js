'use strict';

// One row by key as JSON, over HTTPS, with TLS to PostgreSQL and a named prepared statement.
// No token is checked and nothing is audited.

const fs = require('fs');
const { Pool } = require('pg');

const env = process.env;
const app = require('fastify')({
  https: { key: fs.readFileSync(env.BENCH_KEY), cert: fs.readFileSync(env.BENCH_CERT) },
});
const pool = new Pool({
  host: 'localhost',
  port: Number(env.BENCH_PG_PORT),
  user: 'direct',
  password: env.BENCH_PG_PASSWORD,
  database: 'bench',
  max: Number(env.BENCH_POOL),
  idleTimeoutMillis: 0,
  ssl: { ca: fs.readFileSync(env.BENCH_CA, 'utf8') },
});
const schema = {
  response: { 200: { type: 'object', properties: { abalance: { type: 'integer' } } } },
};

app.get('/accounts/:aid', { schema }, async (request, reply) => {
  const result = await pool.query({
    name: 'account',
    text: 'select abalance from pgbench_accounts where aid = $1',
    values: [request.params.aid],
  });
  return result.rows.length > 0 ? result.rows[0] : reply.code(404).send();
});

app.listen({ host: '127.0.0.1', port: Number(env.BENCH_PORT) });

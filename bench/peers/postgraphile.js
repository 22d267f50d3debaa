// PostGraphile over the tables of a database: node postgraphile.js, with DATABASE_URL. Prints where it serves.
import { createServer } from 'node:http';
import { postgraphile } from 'postgraphile';
import { makePgService } from 'postgraphile/adaptors/pg';
import { grafserv } from 'postgraphile/grafserv/node';
import { PostGraphileAmberPreset } from 'postgraphile/presets/amber';

const pgService = makePgService({ connectionString: process.env.DATABASE_URL, schemas: ['public'] });
const preset = { extends: [PostGraphileAmberPreset], pgServices: [pgService], grafast: { explain: false } };
const server = createServer();
await postgraphile(preset).createServ(grafserv).addTo(server);
server.listen(0, '127.0.0.1', () => console.log(`serves GraphQL on 127.0.0.1:${server.address().port}`));

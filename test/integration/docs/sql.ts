import pg from 'pg';

/** Enters statements one by one, as in psql by its superuser; `\connect` goes to another database of the server. */
export async function enterSql(text: string, serverUrl: string): Promise<void> {
  const url = new URL(serverUrl);
  for (const statement of text.split(/;\n|(?<=^\\connect .*)\n/m)) {
    const connect = /^\\connect (\w+)$/.exec(statement.trim());
    if (connect) url.pathname = `/${connect[1]}`;
    else if (statement.trim()) await query(url.href, statement);
  }
}

async function query(url: string, sql: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}

import { strict as assert } from 'node:assert';
import { globSync } from 'node:fs';
import { type Backend, startBackend, startReplica } from '../../support/backend.ts';
import { Cable } from '../../support/cable.ts';
import { eventually } from '../../support/eventually.ts';
import { ask, pageOf, withPage } from '../../support/page.ts';
import { repository } from '../../support/process.ts';

describe('The status page over HTTP', () => {
  let backend: Backend;
  let page: string;
  before(async () => {
    backend = await startBackend({ settings: withPage });
    page = pageOf(backend);
  });
  after(() => backend[Symbol.asyncDispose]());

  const statusOf = async (path: string, options = {}) => (await ask(page, path, options)).status;

  it('is not there on a database of somebody, unless it is asked for', async () => {
    await using replica = await startReplica(backend.database.url);
    assert.equal(replica.app.pageAddress, undefined);
    await using other = await startReplica(backend.database.url, { PAGE_LISTEN: 'off' });
    assert.equal(other.app.pageAddress, undefined);
  });

  it('does not start on a port that is taken, when it was asked for', async () => {
    await assert.rejects(startReplica(backend.database.url, { PAGE_LISTEN: page }), { code: 'EADDRINUSE' });
  });

  it('answers GET and HEAD of what it has, and nothing else', async () => {
    const files = globSync('*', { cwd: `${repository}/src/page/public` });
    assert.ok(files.includes('page.js') && files.includes('page.css'));
    for (const path of ['/', ...files.map(name => `/${name}`)]) {
      const answer = await ask(page, path);
      assert.equal(answer.status, 200, path);
      const head = await ask(page, path, { method: 'HEAD' });
      assert.deepEqual([head.status, head.text], [200, '']);
    }
    for (const path of [
      '/nothing',
      '/public/page.js',
      '/../page.ts',
      '/%2e%2e/page.ts',
      '/page.ts',
      '//page.js',
      'http://page/',
    ]) {
      assert.equal(await statusOf(path), 404, path);
    }
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE']) {
      for (const path of ['/', '/runs', '/lines', '/page.js']) {
        const { status, headers } = await ask(page, path, { method });
        assert.deepEqual([status, headers.allow], [405, 'GET, HEAD'], `${method} ${path}`);
      }
    }
  });

  it('allows its own files only, no script and no style in the page, no frames and no guessing of types', async () => {
    for (const path of ['/', '/page.js', '/nothing', '/ended']) {
      const { headers } = await ask(page, path);
      const policy = headers['content-security-policy'] as string;
      for (const part of [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "require-trusted-types-for 'script'",
      ]) {
        assert.ok(policy.split('; ').includes(part), `${path}: ${part}`);
      }
      assert.ok(!policy.includes('unsafe'));
      assert.equal(headers['x-content-type-options'], 'nosniff');
      assert.equal(headers['referrer-policy'], 'no-referrer');
      assert.equal(headers['cross-origin-resource-policy'], 'same-origin');
    }
    const { text } = await ask(page, '/');
    assert.doesNotMatch(text, /<script(?! type="module" src="\/)|<style|style=|\son\w+=|https?:\/\//);
  });

  it('sends a file again only when it has changed', async () => {
    const { headers } = await ask(page, '/page.css');
    assert.match(headers['content-type']!, /^text\/css/);
    const again = await ask(page, '/page.css', { headers: { 'if-none-match': headers.etag! } });
    assert.deepEqual([again.status, again.text], [304, '']);
    assert.equal(await statusOf('/page.css', { headers: { 'if-none-match': '"other"' } }), 200);
  });

  it('is this machine only by name: no page of a stranger reads it through a name of his own', async () => {
    const port = page.split(':')[1];
    for (const host of [`localhost:${port}`, `127.0.0.1:${port}`, `[::1]:${port}`, 'localhost', 'LOCALHOST:8080']) {
      assert.equal(await statusOf('/', { headers: { host } }), 200, host);
    }
    for (const host of [`evil.example:${port}`, 'localhost.evil.example', '127.0.0.1.evil.example', '10.0.0.1']) {
      for (const path of ['/', '/runs', '/page.js'])
        assert.equal(await statusOf(path, { headers: { host } }), 421, host);
    }
  });

  it('is served under any name where others can connect', async () => {
    await using replica = await startReplica(backend.database.url, { PAGE_LISTEN: '0.0.0.0:0', INSECURE: 'on' });
    const reached = pageOf(replica).replace('0.0.0.0', '127.0.0.1');
    assert.equal((await ask(reached, '/', { headers: { host: 'backups.example.org' } })).status, 200);
  });

  it('lets pages of others link to it, but not use it', async () => {
    const from = (site: string, mode: string) => ({ headers: { 'sec-fetch-site': site, 'sec-fetch-mode': mode } });
    assert.equal(await statusOf('/', from('cross-site', 'navigate')), 200);
    assert.equal(await statusOf('/', from('same-origin', 'cors')), 200);
    for (const site of ['cross-site', 'same-site']) {
      for (const path of ['/', '/runs', '/lines', '/ended', '/page.js']) {
        assert.equal(await statusOf(path, from(site, 'no-cors')), 403);
      }
    }
  });

  it('says in a page what is wrong with an address, and while the database is away', async () => {
    for (const path of ['/?from=x', '/?from=9.', '/?from=0.x', '/?status=error&from=1.']) {
      const { status, text } = await ask(page, path);
      assert.equal(status, 400, path);
      assert.match(text, /role="alert"/);
    }
    assert.equal(await statusOf('/ended'), 400);
    assert.equal(await statusOf('/ended?backup=x'), 400);

    const url = new URL(backend.database.url);
    const cable = await Cable.start(url);
    url.port = String(cable.port);
    await using replica = await startReplica(url.href, withPage);
    assert.equal((await ask(pageOf(replica), '/')).status, 200);
    await cable[Symbol.asyncDispose]();
    const away = await eventually(async () => {
      const answer = await ask(pageOf(replica), '/');
      assert.equal(answer.status, 503);
      return answer;
    });
    assert.match(away.text, /the database does not answer/);
  });
});

// Builds the package `backup-management-client` for those who do not have this repository: the client library, `backupctl` and the .proto files.
// Node runs no TypeScript below node_modules, so it is compiled. Writes dist/backup-management-client-<version>.tgz.
import { execFileSync } from 'node:child_process';
import { cpSync, globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');
const folder = join(root, 'dist/package');
const { version, description, license, dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

rmSync(folder, { recursive: true, force: true });
mkdirSync(folder, { recursive: true });
execFileSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', 'src/client'], {
  cwd: root,
  stdio: 'inherit',
});
cpSync(join(root, 'proto/backup'), join(folder, 'proto/backup'), { recursive: true });
cpSync(join(root, 'src/client/README.md'), join(folder, 'README.md'));
const manifest = {
  name: 'backup-management-client',
  version,
  description: `A client for Backup Management, and backupctl. ${description}`,
  license,
  type: 'module',
  engines: { node: '>=20.9' },
  exports: {
    '.': './dist/client/main.js',
    './backup/v1/*': './dist/gen/backup/v1/*_pb.js',
    './proto/*': './proto/*',
    './package.json': './package.json',
  },
  types: './dist/client/main.d.ts',
  bin: { backupctl: 'dist/cli/backupctl.js' },
  files: ['dist', 'proto'],
  dependencies: Object.fromEntries(imported().map(name => [name, versionOf(name)])),
};
writeFileSync(join(folder, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`);
// Not `npm run`'s npm: whichever is there.
const packed = execFileSync('npm', ['pack', '--json', '--pack-destination', '..'], { cwd: folder, encoding: 'utf8' });
console.log(join('dist', JSON.parse(packed)[0].filename));

/** The packages that something compiled imports, in the order of their names. */
function imported(): string[] {
  const files = globSync('dist/**/*.{js,d.ts}', { cwd: folder });
  const specifiers = files.flatMap(file =>
    [
      ...readFileSync(join(folder, file), 'utf8').matchAll(/(?:\bfrom |^import |\bimport\()["']([^"'.][^"']*)["']/gm),
    ].map(([, specifier]) => specifier!),
  );
  const names = specifiers.filter(specifier => !isBuiltin(specifier)).map(nameOf);
  return [...new Set(names)].sort();
}

function nameOf(specifier: string): string {
  return specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/');
}

function versionOf(name: string): string {
  return dependencies[name] ?? fail(`${name} is imported and is no dependency`);
}

function fail(message: string): never {
  throw new Error(message);
}

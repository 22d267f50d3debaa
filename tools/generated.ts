import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

// Fails when src/gen is not what the .proto files say: `npm run generate` mends it.
const folder = mkdtempSync(join(tmpdir(), 'backup-management-generated-'));
try {
  execFileSync('buf', ['generate', '--output', folder], { stdio: 'inherit' });
  execFileSync('diff', ['-r', join(folder, 'src/gen'), 'src/gen'], { stdio: 'inherit' });
} finally {
  rmSync(folder, { recursive: true });
}

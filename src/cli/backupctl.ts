#!/usr/bin/env node
import module from 'node:module';

// Before anything else is loaded: from the second time on the code is there compiled, and without its types. Node 20 cannot.
module.enableCompileCache?.();
const { createProgram } = await import('./program.ts');

await createProgram('backupctl', process.env).parseAsync();

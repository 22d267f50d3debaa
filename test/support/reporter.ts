import { writeFileSync } from 'node:fs';
import Mocha from 'mocha';

/** What became of the tests of each file. */
export type Results = Record<string, { passed: number; failed: string[] }>;

/** As `spec`, but it says why a test has failed when it fails, and leaves the results in the file that TEST_RESULTS names. */
class Reporter extends Mocha.reporters.Spec {
  constructor(runner: Mocha.Runner, options: Mocha.MochaOptions) {
    super(runner, options);
    const results: Results = {};
    const of = (file = 'unknown') => (results[file] ??= { passed: 0, failed: [] });
    runner.on('pass', test => void of(test.file).passed++);
    runner.on('fail', (test, error: Error & { file?: string }) => {
      // When the process ends that runs a file, the error knows which it was.
      of(test.file ?? error.file).failed.push(test.fullTitle());
      console.log(`${test.fullTitle()}: ${error.stack ?? error.message}\n`);
    });
    runner.on('end', () => {
      const path = process.env['TEST_RESULTS'];
      if (path) writeFileSync(path, JSON.stringify(results));
    });
  }
}

// What `require` returns, by which mocha loads a reporter.
export { Reporter as 'module.exports' };

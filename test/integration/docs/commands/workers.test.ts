import { enterAll, GROUPS } from './commands.ts';

describe('Commands of the pages on workers, tails and Moodle', () => {
  enterAll(GROUPS.workers);
});

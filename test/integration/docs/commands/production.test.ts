import { enterAll, GROUPS } from './commands.ts';

describe('Commands of the page on production', () => {
  enterAll(GROUPS.production);
});

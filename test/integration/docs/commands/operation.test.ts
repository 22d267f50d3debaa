import { enterAll, GROUPS } from './commands.ts';

describe('Commands of the pages on operation', () => {
  enterAll(GROUPS.operation);
});

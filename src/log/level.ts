/** How important an entry is. Moodle's numbers (backup::LOG_*), column `loglevel`: the higher, the more verbose. */
export const Level = { ERROR: 20, WARNING: 30, INFO: 40, DEBUG: 50 } as const;

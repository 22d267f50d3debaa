import { automationService } from '../automation/service.ts';
import type { Config } from '../config.ts';
import { courseService } from '../course/service.ts';
import { transaction } from '../db/sql.ts';
import { READ_AT_STANDBY, readingFrom } from '../reading.ts';
import { givenBack, settleWithCourses } from '../work/settle.ts';
import type { Opened } from './opened.ts';

/** What CourseService does: the record of courses, and what moves them. */
export function courses(config: Config, { orm, pool, standby, doorbell, tokens }: Opened) {
  const { DEFAULT_PAGE_SIZE: defaultPageSize, COURSE_SCHEDULE: fallback } = config;
  return {
    ...readingFrom(standby, READ_AT_STANDBY.courses, courseService({ orm, tokens, defaultPageSize, fallback })),
    ...automationService({
      orm,
      doorbell,
      leaseMs: config.LEASE_DURATION,
      skipLocked: config.SKIP_LOCKED === 'on',
      fallback,
      giveBack: async held => {
        await transaction(pool, sql => settleWithCourses(sql, held.map(givenBack), fallback));
      },
    }),
  };
}

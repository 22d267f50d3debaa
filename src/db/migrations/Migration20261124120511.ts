import { Migration } from '@mikro-orm/migrations';

export class Migration20261124120511 extends Migration {
  override name = 'Migration20261124120511';

  override up(): void | Promise<void> {
    this.addSql(
      `create table "backup_course_runs" ("courseid" bigint not null, "slot" bigint not null, "kind" smallint not null, "backupid" varchar(32) not null default '', "outcome" smallint not null default 0, "reason" text not null default '', "startedat" bigint not null default 0, "endedat" bigint not null default 0, "created_at" bigint not null default floor(extract(epoch from now()))::bigint, primary key ("courseid", "slot"));`,
    );
    this.addSql(`create index "backup_course_runs_slot" on "backup_course_runs" ("slot", "courseid");`);
    this.addSql(`create index "backup_course_runs_created" on "backup_course_runs" ("created_at");`);

    this.addSql(`alter table "backup_courses" drop constraint "backup_courses_times_check";`);
    this.addSql(
      `alter table "backup_courses" add "schedule" varchar(300) not null default '', add "backupid" varchar(32) not null default '', add "slot" bigint not null default 0, add "queuedfor" bigint not null default 0;`,
    );
    this.addSql(
      `create index backup_courses_due on backup_courses ((laststarttime = 0), (case laststatus when '6' then queuedfor else nextstarttime end), id) where laststatus <> '2' and (nextstarttime > 0 or laststatus = '6');`,
    );
    this.addSql(`create index backup_courses_backup on backup_courses (backupid) where backupid <> '';`);
    this.addSql(
      `alter table "backup_courses" add constraint "backup_courses_times_check" check (laststarttime >= 0 and lastendtime >= 0 and nextstarttime >= 0 and slot >= 0 and queuedfor >= 0);`,
    );

    this.addSql(
      `alter table "backup_course_runs" add constraint "backup_course_runs_kind_check" check (kind between 1 and 3);`,
    );
  }

  override down(): void | Promise<void> {
    this.addSql(`drop table if exists "backup_course_runs" cascade;`);

    this.addSql(`drop index "backup_courses_due";`);
    this.addSql(`drop index "backup_courses_backup";`);
    this.addSql(`alter table "backup_courses" drop constraint "backup_courses_times_check";`);
    this.addSql(
      `alter table "backup_courses" drop column "schedule", drop column "backupid", drop column "slot", drop column "queuedfor";`,
    );
    this.addSql(
      `alter table "backup_courses" add constraint "backup_courses_times_check" check (laststarttime >= 0 and lastendtime >= 0 and nextstarttime >= 0);`,
    );
  }
}

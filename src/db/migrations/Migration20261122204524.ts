import { Migration } from '@mikro-orm/migrations';

export class Migration20261122204524 extends Migration {
  override name = 'Migration20261122204524';

  override up(): void | Promise<void> {
    this.addSql(`alter table "backup_courses" alter column "courseid" drop default;`);

    this.addSql(`alter table "backup_controllers" drop constraint "backup_controllers_execution";`);
    this.addSql(`alter table "backup_controllers" drop constraint "backup_controllers_interactive";`);
    this.addSql(`alter table "backup_controllers" drop constraint "backup_controllers_operation";`);
    this.addSql(`alter table "backup_controllers" drop constraint "backup_controllers_progress";`);
    this.addSql(`alter table "backup_controllers" drop constraint "backup_controllers_status";`);
    this.addSql(`alter table "backup_controllers" drop constraint "backup_controllers_times";`);
    this.addSql(`alter table "backup_controllers" drop constraint "backup_controllers_type";`);
    this.addSql(
      `alter table "backup_controllers" alter column "created_at" set default floor(extract(epoch from now()))::bigint;`,
    );
    this.addSql(
      `alter table "backup_controllers" alter column "updated_at" set default floor(extract(epoch from now()))::bigint;`,
    );
    this.addSql(
      `alter table "backup_controllers" add constraint "backup_controllers_operation_check" check (operation in ('backup', 'restore'));`,
    );
    this.addSql(
      `alter table "backup_controllers" add constraint "backup_controllers_type_check" check (type in ('', 'activity', 'section', 'course'));`,
    );
    this.addSql(
      `alter table "backup_controllers" add constraint "backup_controllers_interactive_check" check (interactive in (0, 1));`,
    );
    this.addSql(
      `alter table "backup_controllers" add constraint "backup_controllers_status_check" check (status in (100, 200, 300, 400, 500, 600, 700, 800, 900, 1000));`,
    );
    this.addSql(
      `alter table "backup_controllers" add constraint "backup_controllers_execution_check" check (execution in (1, 2));`,
    );
    this.addSql(
      `alter table "backup_controllers" add constraint "backup_controllers_progress_check" check (progress between 0 and 1);`,
    );
    this.addSql(
      `alter table "backup_controllers" add constraint "backup_controllers_times_check" check (executiontime >= 0 and created_at >= 0 and updated_at >= 0);`,
    );

    this.addSql(`alter table "backup_courses" drop constraint "backup_courses_status";`);
    this.addSql(`alter table "backup_courses" drop constraint "backup_courses_times";`);
    this.addSql(
      `alter table "backup_courses" add constraint "backup_courses_status_check" check (laststatus in ('0', '1', '2', '3', '4', '5', '6'));`,
    );
    this.addSql(
      `alter table "backup_courses" add constraint "backup_courses_times_check" check (laststarttime >= 0 and lastendtime >= 0 and nextstarttime >= 0);`,
    );

    this.addSql(`alter table "backup_logs" drop constraint "backup_logs_id";`);
    this.addSql(`alter table "backup_logs" drop constraint "backup_logs_nanos";`);
    this.addSql(`alter table "backup_logs" add constraint "backup_logs_id_check" check (id > 0);`);
    this.addSql(
      `alter table "backup_logs" add constraint "backup_logs_nanos_check" check (created_nanos between 0 and 999999999);`,
    );

    this.addSql(`alter table "backup_log_heads" drop constraint "backup_log_heads_ids";`);
    this.addSql(
      `alter table "backup_log_heads" add constraint "backup_log_heads_ids_check" check (firstid >= 1 and lastid >= firstid - 1 and sealedid <= lastid);`,
    );

    // By hand from here on. A head changes with every append: room on its page keeps the new version there (a HOT update), and vacuum
    // has to come early to a small table that changes so much.
    this.addSql(
      `alter table "backup_log_heads" set (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 200);`,
    );
    this.addSql(`alter table "backup_controllers" set (fillfactor = 85);`);
    // 244 random bits: what page and resume tokens are signed with, on every replica.
    this.addSql(
      `insert into "backup_settings" ("name", "value") values ('token_key', gen_random_uuid()::text || gen_random_uuid()::text);`,
    );
  }

  override down(): void | Promise<void> {
    this.addSql(`alter table "backup_controllers" drop constraint "backup_controllers_operation_check";`);
    this.addSql(`alter table "backup_controllers" drop constraint "backup_controllers_type_check";`);
    this.addSql(`alter table "backup_controllers" drop constraint "backup_controllers_interactive_check";`);
    this.addSql(`alter table "backup_controllers" drop constraint "backup_controllers_status_check";`);
    this.addSql(`alter table "backup_controllers" drop constraint "backup_controllers_execution_check";`);
    this.addSql(`alter table "backup_controllers" drop constraint "backup_controllers_progress_check";`);
    this.addSql(`alter table "backup_controllers" drop constraint "backup_controllers_times_check";`);
    this.addSql(
      `alter table "backup_controllers" alter column "created_at" set default extract(epoch from now())::bigint;`,
    );
    this.addSql(
      `alter table "backup_controllers" alter column "updated_at" set default extract(epoch from now())::bigint;`,
    );
    this.addSql(
      `alter table "backup_controllers" add constraint "backup_controllers_execution" check (execution in (1, 2));`,
    );
    this.addSql(
      `alter table "backup_controllers" add constraint "backup_controllers_interactive" check (interactive in (0, 1));`,
    );
    this.addSql(
      `alter table "backup_controllers" add constraint "backup_controllers_operation" check (operation in ('backup', 'restore'));`,
    );
    this.addSql(
      `alter table "backup_controllers" add constraint "backup_controllers_progress" check (progress between 0 and 1);`,
    );
    this.addSql(
      `alter table "backup_controllers" add constraint "backup_controllers_status" check (status in (100, 200, 300, 400, 500, 600, 700, 800, 900, 1000));`,
    );
    this.addSql(
      `alter table "backup_controllers" add constraint "backup_controllers_times" check (executiontime >= 0 and created_at >= 0 and updated_at >= 0);`,
    );
    this.addSql(
      `alter table "backup_controllers" add constraint "backup_controllers_type" check (type in ('', 'activity', 'section', 'course'));`,
    );

    this.addSql(`alter table "backup_courses" drop constraint "backup_courses_status_check";`);
    this.addSql(`alter table "backup_courses" drop constraint "backup_courses_times_check";`);
    this.addSql(
      `alter table "backup_courses" add constraint "backup_courses_status" check (laststatus between '0' and '6');`,
    );
    this.addSql(
      `alter table "backup_courses" add constraint "backup_courses_times" check (laststarttime >= 0 and lastendtime >= 0 and nextstarttime >= 0);`,
    );

    this.addSql(`alter table "backup_log_heads" drop constraint "backup_log_heads_ids_check";`);
    this.addSql(
      `alter table "backup_log_heads" add constraint "backup_log_heads_ids" check (firstid >= 1 and lastid >= firstid - 1 and sealedid <= lastid);`,
    );

    this.addSql(`alter table "backup_logs" drop constraint "backup_logs_id_check";`);
    this.addSql(`alter table "backup_logs" drop constraint "backup_logs_nanos_check";`);
    this.addSql(`alter table "backup_logs" add constraint "backup_logs_id" check (id > 0);`);
    this.addSql(
      `alter table "backup_logs" add constraint "backup_logs_nanos" check (created_nanos between 0 and 999999999);`,
    );

    this.addSql(`create sequence if not exists "backup_courses_courseid_seq";`);
    this.addSql(`select setval('backup_courses_courseid_seq', (select max("courseid") from "backup_courses"));`);
    this.addSql(
      `alter table "backup_courses" alter column "courseid" set default nextval('backup_courses_courseid_seq');`,
    );
  }
}

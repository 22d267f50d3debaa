import { Migration } from '@mikro-orm/migrations';

export class Migration20261126005618 extends Migration {
  override name = 'Migration20261126005618';

  override up(): void | Promise<void> {
    this.addSql(`alter table "backup_logs" add "appended_micros" bigint null;`);

    this.addSql(
      `alter table "backup_log_heads" add "activeminute" bigint generated always as ((lastmicros / 60000000)) stored null;`,
    );
    this.addSql(`create index "backup_log_heads_active" on "backup_log_heads" ("activeminute");`);
  }

  override down(): void | Promise<void> {
    this.addSql(`drop index "backup_log_heads_active";`);
    this.addSql(`alter table "backup_log_heads" drop column "activeminute";`);

    this.addSql(`alter table "backup_logs" drop column "appended_micros";`);
  }
}

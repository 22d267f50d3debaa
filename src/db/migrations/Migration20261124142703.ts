import { Migration } from '@mikro-orm/migrations';

export class Migration20261124142703 extends Migration {
  override name = 'Migration20261124142703';

  override up(): void | Promise<void> {
    this.addSql(
      `create table "backup_log_writers" ("backupid" varchar(32) not null, "writerid" uuid not null, "lastnumber" bigint not null, "updated_at" bigint not null, primary key ("backupid", "writerid"));`,
    );
    this.addSql(`create index "backup_log_writers_updated" on "backup_log_writers" ("updated_at");`);
  }

  override down(): void | Promise<void> {
    this.addSql(`drop table if exists "backup_log_writers" cascade;`);
  }
}

import { Migration } from '@mikro-orm/migrations';

export class Migration20261124123034 extends Migration {
  override name = 'Migration20261124123034';

  override up(): void | Promise<void> {
    this.addSql(
      `create table "backup_log_imports" ("backupid" varchar(32) not null, "sourceid" bigint not null, primary key ("backupid"));`,
    );
  }

  override down(): void | Promise<void> {
    this.addSql(`drop table if exists "backup_log_imports" cascade;`);
  }
}

import { Migration } from '@mikro-orm/migrations';

export class Migration20261126074230 extends Migration {
  override name = 'Migration20261126074230';

  override up(): void | Promise<void> {
    this.addSql(
      `create table "backup_log_segments" ("backupid" varchar(32) not null, "lastid" bigint not null, "firstid" bigint not null, "key" varchar(200) not null, "checksum" bytea not null, "bytes" int not null, "levels" jsonb not null, "firstseconds" bigint not null, "firstmicros" bigint not null, "lastmicros" bigint not null, "proof" varchar(11) not null, primary key ("backupid", "lastid"));`,
    );

    this.addSql(
      `create table "backup_segment_removals" ("backupid" varchar(32) not null, "key" varchar(200) not null, "due_at" bigint not null, "attempts" int not null default 0, primary key ("backupid", "key"));`,
    );
    this.addSql(`create index "backup_segment_removals_due" on "backup_segment_removals" ("due_at");`);

    this.addSql(`alter table "backup_log_heads" add "movedid" bigint not null default '0';`);

    this.addSql(
      `alter table "backup_log_segments" add constraint "backup_log_segments_ids_check" check (firstid >= 1 and lastid >= firstid);`,
    );
  }

  override down(): void | Promise<void> {
    this.addSql(`drop table if exists "backup_log_segments" cascade;`);
    this.addSql(`drop table if exists "backup_segment_removals" cascade;`);

    this.addSql(`alter table "backup_log_heads" drop column "movedid";`);
  }
}

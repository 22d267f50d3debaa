import { Migration } from '@mikro-orm/migrations';

export class Migration20261122233135 extends Migration {
  override name = 'Migration20261122233135';

  override up(): void | Promise<void> {
    this.addSql(
      `create table "backup_exclusives" ("operation" varchar(20) not null, "type" varchar(10) not null, "itemid" bigint not null, primary key ("operation", "type", "itemid"));`,
    );

    this.addSql(
      `create table "backup_payloads" ("backupid" varchar(32) not null, "uploadid" uuid not null, "size" bigint not null, "md5" varchar(32) not null, primary key ("backupid"));`,
    );

    this.addSql(
      `create table "backup_payload_chunks" ("backupid" varchar(32) not null, "uploadid" uuid not null, "n" int not null, "data" text not null, "created_at" bigint not null default floor(extract(epoch from now()))::bigint, primary key ("backupid", "uploadid", "n"));`,
    );

    this.addSql(
      `create table "backup_removals" ("backupid" varchar(32) not null, "created_at" bigint not null default floor(extract(epoch from now()))::bigint, primary key ("backupid"));`,
    );
    this.addSql(`create index "backup_removals_created" on "backup_removals" ("created_at");`);

    this.addSql(`drop index "backup_controllers_queue";`);
    this.addSql(
      `alter table "backup_controllers" add "exclusive" boolean not null default false, add "maxattempts" smallint not null default 1, add "attempt" int not null default 0, add "lostattempts" smallint not null default 0, add "leasetoken" uuid null, add "leaseworker" varchar(100) not null default '', add "leasedat" bigint not null default 0, add "leaseexpires" bigint not null default 0, add "leasems" int not null default 0, add "cancelrequestedat" bigint not null default 0, add "outcome" smallint not null default 0, add "startedat" bigint not null default 0, add "endedat" bigint not null default 0;`,
    );
    this.addSql(
      `create index backup_controllers_due on backup_controllers (greatest(executiontime, created_at), id) where status = 700 and execution = 2;`,
    );
    this.addSql(
      `alter table "backup_controllers" add constraint "backup_controllers_lease_check" check (leasetoken is null or status = 800);`,
    );

    this.addSql(`alter table "backup_logs" add "attempt" int not null default 0;`);

    // By hand from here on. Base64 does not compress well, and trying takes longer than writing it.
    this.addSql(`alter table "backup_controllers" alter column "controller" set storage external;`);
    this.addSql(`alter table "backup_payload_chunks" alter column "data" set storage external;`);
    // When leases were last looked at, in epoch milliseconds: one look at a time, whichever replica it is.
    this.addSql(`insert into "backup_settings" ("name", "value") values ('last_sweep', '0');`);
  }

  override down(): void | Promise<void> {
    this.addSql(`drop table if exists "backup_exclusives" cascade;`);
    this.addSql(`drop table if exists "backup_payloads" cascade;`);
    this.addSql(`drop table if exists "backup_payload_chunks" cascade;`);
    this.addSql(`drop table if exists "backup_removals" cascade;`);

    this.addSql(`drop index "backup_controllers_due";`);
    this.addSql(`alter table "backup_controllers" drop constraint "backup_controllers_lease_check";`);
    this.addSql(
      `alter table "backup_controllers" drop column "exclusive", drop column "maxattempts", drop column "attempt", drop column "lostattempts", drop column "leasetoken", drop column "leaseworker", drop column "leasedat", drop column "leaseexpires", drop column "leasems", drop column "cancelrequestedat", drop column "outcome", drop column "startedat", drop column "endedat";`,
    );
    this.addSql(
      `create index "backup_controllers_queue" on "backup_controllers" ("executiontime", "id") where status = 700;`,
    );

    this.addSql(`alter table "backup_logs" drop column "attempt";`);
    this.addSql(`delete from "backup_settings" where "name" = 'last_sweep';`);
  }
}

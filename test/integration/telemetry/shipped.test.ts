import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Backend, startBackend } from '../../support/backend.ts';
import { eventually } from '../../support/eventually.ts';
import { repository, run } from '../../support/process.ts';
import { Scrape } from '../../support/scrape.ts';
import { append, newBackup, newBackupId } from '../../support/writing.ts';

const alerts = join(repository, 'observability/alerts.yaml');
const rules = readFileSync(alerts, 'utf8');
const dashboard = readFileSync(join(repository, 'observability/dashboard.json'), 'utf8');
const hasPromtool = spawnSync('promtool', ['--version']).status === 0;

describe('What is shipped for those who watch', () => {
  let backend: Backend;
  let told: Scrape;
  before(async () => {
    const settings = { METRICS_LISTEN: '127.0.0.1:0', RETENTION: '30d', SEGMENT_STORE: 'file:///nowhere' };
    // Of a standby that is not fit, as that of a server which is none, there is as much to tell.
    const standby = { DATABASE_READ_URL: process.env['TEST_DATABASE_URL']! };
    backend = await startBackend({ settings: { ...settings, ...standby } });
    const backupId = await newBackup(backend);
    await append(backend, newBackupId(), ['a line']);
    await backend.controllers.getController({ backupId });
    await backend.controllers.claimControllers({ worker: 'w' });
    for await (const _ of backend.logs.tailLogs({ backupIds: [backupId] }));
    const address = ['--address', backend.address];
    await using canary = run('node', ['src/cli/main.ts', 'canary', ...address, '--rate', '50', '--metrics-port', '0']);
    const seen = await eventually(async () => {
      const [, url] = canary.output().match(/(http:\S+metrics)/) ?? assert.fail(canary.output());
      const text = await (await fetch(url!)).text();
      assert.match(text, /backup_canary_latency_seconds_count\S+ [1-9]/);
      return text;
    });
    // What collections took is told once there was one.
    const own = await eventually(async () => {
      Array.from({ length: 100_000 }, () => ({}));
      const text = await (await fetch(`http://127.0.0.1:${backend.app.metricsPort}/metrics`)).text();
      assert.match(text, /nodejs_gc_duration_seconds_sum/);
      return text;
    });
    told = new Scrape(`${own}\n${seen}`);
  });
  after(() => backend[Symbol.asyncDispose]());

  const expressions = {
    alert: [...rules.matchAll(/^ +expr: (.+)$/gm)].map(([, expression]) => expression!),
    panel: [...dashboard.matchAll(/"expr": ("(?:[^"\\]|\\.)*")/g)].map(([, quoted]) => JSON.parse(quoted!) as string),
  };

  it('has an expression in every alert and in every panel', () => {
    assert.equal(expressions.alert.length, rules.match(/- alert: /g)!.length);
    const { panels } = JSON.parse(dashboard) as { panels: { type: string; title: string; targets?: unknown[] }[] };
    for (const { type, title, targets = [] } of panels) assert.ok(type === 'row' || targets.length > 0, title);
    assert.equal(new Set(panels.map(({ title }) => title)).size, panels.length);
  });

  for (const [what, all] of Object.entries(expressions)) {
    it(`asks in every ${what} for metrics and labels that there are`, () => {
      const known = new Set([...told.names, 'up']);
      for (const expression of all) {
        const { names, labels } = namesOf(expression);
        assert.ok(names.length > 0, expression);
        assert.deepEqual(
          names.filter(name => !known.has(name)),
          [],
          expression,
        );
        const ofThese = new Set([...names.flatMap(name => told.labelsOf(name)), 'job', 'instance']);
        assert.deepEqual(
          labels.filter(label => !ofThese.has(label)),
          [],
          expression,
        );
      }
    });
  }

  it('leaves no metric of the service out of the dashboard', () => {
    const shown = new Set(expressions.panel.flatMap(expression => namesOf(expression).names));
    const own = told.declared.filter(name => /^(backup|rpc|db)_/.test(name) && !name.startsWith('backup_canary'));
    assert.ok(own.length > 20);
    const missing = own.filter(name => ![name, `${name}_count`, `${name}_bucket`].some(one => shown.has(one)));
    assert.deepEqual(missing, []);
  });

  it('is described in the reference, every metric and no other', () => {
    const page = readFileSync(join(repository, 'docs/reference/metrics.md'), 'utf8');
    const described = [...page.matchAll(/^\| <a id="(\w+)">/gm)].map(([, name]) => name!);
    assert.deepEqual(described.toSorted(), [...told.declared].toSorted());
  });

  if (hasPromtool) {
    it('has rules that Prometheus takes', () => {
      execFileSync('promtool', ['check', 'rules', alerts], { stdio: 'pipe' });
    });

    it('fires no alert at a service that is well', async () => {
      const well = told.samples
        .filter(({ name }) => !/last_round/.test(name))
        .map(({ name, labels, value }) => ({
          series: series(name, { ...labels, instance: 'a', job: 'backup-management' }),
          values: `${ofProcess[name] ?? value}+0x60`,
        }));
      const beside = {
        'up{job="backup-management", instance="a"}': '1x60',
        'up{job="backup-canary", instance="c"}': '1x60',
        'backup_retention_last_round_timestamp_seconds{instance="a"}': '0+60x60',
        'backup_segments_last_round_timestamp_seconds{instance="a"}': '0+60x60',
      };
      const written = well.filter(one => !one.series.startsWith('backup_canary_written_total'));
      const input = [
        ...written,
        ...seriesOf(beside),
        ...seriesOf({ 'backup_canary_written_total{replica="r"}': '0+60x60' }),
      ];
      judge([{ input_series: input, expr: 'count by (alertname) (ALERTS)', value: undefined }]);
    });

    it('fires each alert when there is a reason, and not a minute too early', () => {
      const names = [...rules.matchAll(/- alert: (\w+)/g)].map(([, name]) => name!);
      assert.deepEqual(Object.keys(reasons).sort(), names.sort());
      judge(
        Object.entries(reasons).flatMap(([name, { series, after }]) => {
          const expr = `count(ALERTS{alertname="${name}", alertstate="firing"})`;
          const input_series = seriesOf(series);
          return [
            { input_series, expr, value: 1, at: `${after}m` },
            ...(after > 1 ? [{ input_series, expr, value: undefined, at: `${after - 2}m` }] : []),
          ];
        }),
      );
    });
  } else {
    console.error('\n*** There is no promtool: the alert rules are NOT TRIED (apt-get install prometheus) ***\n');
  }
});

/** What a process that serves has; one that runs tests has less time and more memory. */
const ofProcess: Record<string, number> = {
  nodejs_eventloop_lag_p99_seconds: 0.01,
  process_resident_memory_bytes: 1e8,
  backup_standby_read: 1,
  backup_standby_lag_seconds: 0.01,
};

/** What makes an alert fire, and after how many minutes it does. */
const reasons: Record<string, { series: Record<string, string>; after: number }> = {
  BackupServiceDown: { series: { 'up{job="backup-management", instance="a"}': '0x60' }, after: 2 },
  BackupReplicaNotServing: { series: { 'backup_serving{instance="a"}': '0x60' }, after: 3 },
  BackupErrorRatio: {
    series: {
      'rpc_server_call_duration_seconds_count{rpc_method="m", rpc_status_code="OK"}': '0+90x60',
      'rpc_server_call_duration_seconds_count{rpc_method="m", rpc_status_code="UNAVAILABLE"}': '0+10x60',
      'rpc_server_call_duration_seconds_count{rpc_method="n", rpc_status_code="OK"}': '0+10x60',
      'rpc_server_call_duration_seconds_count{rpc_method="n", rpc_status_code="NOT_FOUND"}': '0+10x60',
    },
    after: 6,
  },
  BackupOldestDue: { series: { 'backup_queue_oldest_due_seconds{instance="a"}': '1801x60' }, after: 6 },
  BackupLeasesLost: { series: { 'backup_leases_lost_total{instance="a"}': '0+1x60' }, after: 6 },
  BackupLeasesExpired: { series: { 'backup_leases_expired{instance="a"}': '1x60' }, after: 3 },
  BackupTailLag: { series: { 'backup_tail_lag_entries{instance="a"}': '100001x60' }, after: 11 },
  BackupPoolExhausted: {
    series: {
      'db_client_connection_pending_requests{instance="a", db_client_connection_pool_name="main"}': '3x60',
      'db_client_connection_count{instance="a", db_client_connection_pool_name="main", db_client_connection_state="used"}':
        '19x60',
      'db_client_connection_count{instance="a", db_client_connection_pool_name="main", db_client_connection_state="idle"}':
        '1x60',
      'db_client_connection_max{instance="a", db_client_connection_pool_name="main"}': '20x60',
      'db_client_connection_pending_requests{instance="a", db_client_connection_pool_name="hot"}': '3x60',
      'db_client_connection_count{instance="a", db_client_connection_pool_name="hot", db_client_connection_state="used"}':
        '1x60',
      'db_client_connection_max{instance="a", db_client_connection_pool_name="hot"}': '10x60',
    },
    after: 3,
  },
  BackupAppendQueueFull: {
    series: {
      'backup_append_queue_bytes{instance="a"}': '81x60',
      'backup_append_queue_max_bytes{instance="a"}': '100x60',
    },
    after: 2,
  },
  BackupEventLoopLag: { series: { 'nodejs_eventloop_lag_p99_seconds{job="backup-management"}': '0.3x60' }, after: 6 },
  BackupMemory: { series: { 'process_resident_memory_bytes{job="backup-management"}': '1100000000x60' }, after: 11 },
  BackupDoorbellSilent: { series: { 'backup_doorbell_connected{instance="a"}': '0x60' }, after: 3 },
  BackupStandbyNotRead: { series: { 'backup_standby_read{instance="a"}': '0x60' }, after: 6 },
  BackupRetentionNotRunning: {
    series: {
      'backup_retention_last_round_timestamp_seconds{instance="a"}': '0x60',
      'backup_retention_interval_seconds{instance="a"}': '60x60',
    },
    after: 11,
  },
  BackupSegmentLost: {
    series: { 'backup_segment_failures_total{instance="a", what="lost"}': '0 1x60' },
    after: 1,
  },
  BackupSegmentsUnavailable: {
    series: { 'backup_segment_failures_total{instance="a", what="read"}': '0+1x60' },
    after: 6,
  },
  BackupSegmentsNotMoving: {
    series: {
      'backup_segments_last_round_timestamp_seconds{instance="a"}': '0x120',
      'backup_segments_interval_seconds{instance="a"}': '60x120',
    },
    after: 66,
  },
  BackupCanaryMissing: { series: { 'backup_canary_missing_total{replica="a"}': '0 1x60' }, after: 1 },
  BackupCanaryLate: { series: { 'backup_canary_late_total{replica="a"}': '0+2x60' }, after: 9 },
  BackupCanarySilent: {
    series: { 'up{job="backup-canary"}': '1x60', 'backup_canary_written_total{replica="a"}': '7x60' },
    after: 7,
  },
};

type Judged = { input_series: object[]; expr: string; value: number | undefined; at?: string };

function seriesOf(all: Record<string, string>): { series: string; values: string }[] {
  return Object.entries(all).map(([series, values]) => ({ series, values }));
}

function series(name: string, labels: Record<string, string>): string {
  return `${name}{${Object.entries(labels).map(([label, value]) => `${label}=${JSON.stringify(value)}`)}}`;
}

/** Has Prometheus reckon what these rules make of series, and compare; no value is no sample. */
function judge(all: Judged[]): void {
  const folder = mkdtempSync(join(tmpdir(), 'promtool-'));
  try {
    const file = join(folder, 'test.yaml');
    const tests = all.map(({ input_series, expr, value, at = '30m' }) => ({
      interval: '1m',
      input_series,
      promql_expr_test: [{ expr, eval_time: at, exp_samples: value === undefined ? [] : [{ labels: '{}', value }] }],
    }));
    // JSON is YAML.
    writeFileSync(file, JSON.stringify({ rule_files: [alerts], evaluation_interval: '1m', tests }));
    const { status, stdout, stderr } = spawnSync('promtool', ['test', 'rules', file], { encoding: 'utf8' });
    assert.equal(status, 0, `${stdout}${stderr}`);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Names of metrics and of labels in an expression. */
function namesOf(expression: string): { names: string[]; labels: string[] } {
  const plain = expression.replace(/"(?:[^"\\]|\\.)*"/g, '""');
  const labels = [...plain.matchAll(/(\w+) *(?:=~|!~|!=|=)(?!=) *""/g)].map(([, label]) => label!);
  const grouping = /\b(?:by|without|on|ignoring|group_left|group_right) *\(([^)]*)\)/g;
  labels.push(...[...plain.matchAll(grouping)].flatMap(([, list]) => list!.split(',').map(label => label.trim())));
  const rest = plain.replace(grouping, ' ').replace(/\{[^}]*\}|\[[^\]]*\]/g, ' ');
  const words = [...rest.matchAll(/(?<![\w.])([a-z_:][\w:]*)(?! *\(|\w)/gi)].map(([, word]) => word!);
  return { names: words.filter(word => !/^(and|or|unless|bool|offset)$/.test(word)), labels };
}

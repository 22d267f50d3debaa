import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { InvalidArgumentError } from 'commander';
import { Failure } from './failure.ts';
import { environmentName, SETTINGS, type Setting, type Settings } from './settings.ts';

type Environment = Record<string, string | undefined>;

/** What stands on the command line, by the names that commander gives to options. */
export type Flags = Partial<Settings> & { config?: string; context?: string };

/** Flags before environment before file before what is usual. What is wrong is a Failure of wrong use that says where. */
export async function configure(flags: Flags, environment: Environment): Promise<Settings> {
  const file = await readConfiguration(flags, environment);
  const settings: Record<string, unknown> = {};
  for (const setting of SETTINGS) {
    const { key, usual } = setting;
    const value = flags[key] ?? fromEnvironment(setting, environment) ?? file[key] ?? usual;
    if (value !== undefined) settings[key] = value;
  }
  return settings as Settings;
}

function fromEnvironment(setting: Setting, environment: Environment): unknown {
  const name = environmentName(setting);
  const text = environment[name];
  return text ? parsed(setting, text, name) : undefined;
}

/** Of the file that a command without flags would read; none when it cannot be read. */
export async function contextNames(environment: Environment): Promise<string[]> {
  try {
    const { root } = (await readRoot({}, environment)) ?? {};
    return Object.keys((root as { contexts?: object } | undefined)?.contexts ?? {});
  } catch {
    return [];
  }
}

/** The settings of the file with those of its context over them. */
async function readConfiguration(flags: Flags, environment: Environment): Promise<Partial<Settings>> {
  const wanted = flags.context ?? (environment['BACKUPCTL_CONTEXT'] || undefined);
  const { path, root } = await readRoot(flags, environment);
  if (root === undefined) {
    if (wanted) throw wrong(`there is no context ${wanted}: ${path} is not there`);
    return {};
  }
  const { context, contexts = {}, ...common } = mapping(root, path, '');
  const all = mapping(contexts, path, 'contexts');
  const name = wanted ?? context;
  if (name !== undefined && (typeof name !== 'string' || !Object.hasOwn(all, name))) {
    throw wrong(`${path}: there is no context ${name}; there are ${Object.keys(all).join(', ') || 'none'}`);
  }
  // All contexts are read, so that what is wrong with one is known before it is needed.
  const read = Object.fromEntries(
    Object.entries(all).map(([key, value]) => [
      key,
      settingsOf(mapping(value, path, `contexts.${key}`), path, `contexts.${key}.`),
    ]),
  );
  return { ...settingsOf(common, path, ''), ...(typeof name === 'string' && read[name]) };
}

/** Undefined when there is no file, and none was named. */
async function readRoot(flags: Flags, environment: Environment): Promise<{ path: string; root: unknown }> {
  const named = flags.config ?? environment['BACKUPCTL_CONFIG'];
  const home = environment['XDG_CONFIG_HOME'] || join(environment['HOME'] ?? homedir(), '.config');
  const path = named || join(home, 'backupctl', 'config.yaml');
  const text = contentOf(path, Boolean(named));
  if (text === undefined) return { path, root: undefined };
  const { parse } = await import('yaml');
  try {
    return { path, root: parse(text) ?? {} };
  } catch (error) {
    throw wrong(`${path}: ${(error as Error).message.split('\n')[0]}`);
  }
}

function contentOf(path: string, mustExist: boolean): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT' && !mustExist) return undefined;
    throw wrong(`the configuration file cannot be read: ${(error as Error).message}`);
  }
}

function mapping(value: unknown, path: string, at: string): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw wrong(`${path}: ${at || 'it'} must be a mapping of keys to values`);
}

function settingsOf(values: Record<string, unknown>, path: string, prefix: string): Partial<Settings> {
  const settings: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(values)) {
    const setting = SETTINGS.find(one => one.name === name);
    if (!setting)
      throw wrong(`${path}: unknown key ${prefix}${name}; known are ${SETTINGS.map(one => one.name).join(', ')}`);
    const text = Array.isArray(value) ? value.join(',') : String(value ?? '');
    const read = parsed(setting, text, `${path}: ${prefix}${name}`);
    settings[setting.key] = setting.isFile ? resolve(dirname(path), read as string) : read;
  }
  return settings as Partial<Settings>;
}

function parsed(setting: Setting, text: string, where: string): unknown {
  try {
    return setting.parse(text);
  } catch (error) {
    if (error instanceof InvalidArgumentError) throw wrong(`${where} ${error.message}`);
    throw error;
  }
}

function wrong(message: string): Failure {
  return new Failure('WRONG_USE', message);
}

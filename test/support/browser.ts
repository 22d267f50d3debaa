import { existsSync } from 'node:fs';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';

const PROGRAM = '/usr/bin/chromium';

export const hasChromium = existsSync(PROGRAM);

/** A browser without a window. As root it has no sandbox; it only sees pages of this repository. */
export function launchBrowser(): Promise<Browser> {
  return chromium.launch({ executablePath: PROGRAM, args: process.getuid?.() === 0 ? ['--no-sandbox'] : [] });
}

/** A page, and what it should not have done: errors of its own, and requests to others than where it came from. */
export type Visit = AsyncDisposable & { page: Page; complaints: string[]; requests: Set<string> };

/** Opens an address in a profile of its own. */
export async function visit(browser: Browser, address: string, options: BrowserContextOptions = {}): Promise<Visit> {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.setDefaultTimeout(180_000);
  const complaints: string[] = [];
  const requests = new Set<string>();
  page.on('pageerror', error => complaints.push(String(error)));
  page.on('console', said => {
    if (/error|warning/.test(said.type())) complaints.push(said.text());
  });
  page.on('dialog', dialog => {
    complaints.push(`dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  page.on('request', request => requests.add(new URL(request.url()).origin));
  await page.goto(address);
  return { page, complaints, requests, [Symbol.asyncDispose]: () => context.close() };
}
